"""Settings for the MNIST benchmarks.

Sources: the authors' released scripts for La-MAML, Sync La-MAML and C-MAML, with the values of the paper's Table 6
under `--semantics=paper` where the two differ; MER's released scripts for Online, EWC, GEM, ER and MER, one example
at a time. Learners in neither source take what `experiments.tune` chose from `grids.py` on validation data,
those of Many Permutations what was chosen on Permutations. Not tuned, but set once, are BGD's and UCB's samples and
UCB's clipping, Meta-BGD's inner steps, samples and glances, and what `_LA_ER` has. FS-DGPM takes on all three what its
authors released for their permutations of MNIST; on Many Permutations with the other learners' memory, and with a
threshold that gets after a hundred tasks where theirs gets after twenty.
"""

from collections.abc import Mapping
from typing import Any

from experiments.presets.preset import (
    RELEASED_GLANCES,
    TEXT_GLANCES,
    TEXT_META,
    TEXT_REPLAY,
    Preset,
)

# How the authors' code and their text read the method, where they differ.
_LOOK_AHEAD = {
    "order": "first",
    "meta_loss_at": "every",
    "inner_lr_relu": True,
    "inner_clip": None,
    "inner_steps": 10,
    "replay_batch": 10,
    "clip_norm": 2.0,
}
_RELEASED = {**_LOOK_AHEAD, **RELEASED_GLANCES}
# La-MAML's settings; with the outputs that it keeps, as many examples as take its bytes.
_LA_DER = {**_LOOK_AHEAD, "distill": 0.3}
_TEXT = {**TEXT_META, "order": "second", "inner_lr_relu": False}
_TEXT_LA_ER = {**TEXT_GLANCES, "order": "second", "inner_lr_relu": False}
_ONE_BY_ONE = {"examples_per_step": 1}
# MER's scripts estimate the Fisher information by the squared gradient of the mean loss on ten examples.
_MER_FISHER = {**_ONE_BY_ONE, "fisher": "batch", "fisher_labels": "data", "fisher_examples": 10}
_LA_ER = {
    **{"order": "first", "inner_lr_relu": True, "inner_steps": 10, "glances": 1},
    **{"replay_batch": 10, "clip_norm": 2.0},
}
_FS_DGPM = {
    **{"perturbation": "flatten", "soft": "released", "order": "first", "inner_steps": 2},
    **{"lr": 0.01, "momentum": 0.9, "perturbation_lr": 0.05, "weights_lr": 0.01, "clip_norm": 2.0},
    **{"inner_clip": 2.0, "temperature": 10.0, "threshold": 0.99, "threshold_step": 0.0005},
    **{"glances": 5, "replay_batch": 10, "memory": 200, "replacement": False},
}


def _of_mer(keywords: Mapping[str, Any], paper: Mapping[str, Any] | None = None) -> Preset:
    """Return a preset of MER's scripts, whose networks start from Xavier's uniform weights."""
    return Preset(keywords, paper or {}, network={"initializer": "xavier_uniform"})


def _look_ahead(paper: Mapping[str, Any] | None = None, **values: Any) -> Preset:
    return Preset({**_RELEASED, **values}, {**_TEXT, **(paper or {})})


MNIST: dict[str, dict[str, Preset]] = {
    "mnist_rotations": {
        "la_maml": _look_ahead(
            {"lr_init": 0.3, "lr_lr": 0.15}, lr_init=0.15, lr_lr=0.3, glances=5, memory=200
        ),
        "sync_la_maml": _look_ahead(lr_init=0.15, lr_lr=0.1, outer_lr=0.3, glances=5, memory=200),
        "c_maml": _look_ahead(inner_lr=0.1, outer_lr=0.1, glances=5, memory=200),
        "er": _of_mer({**_ONE_BY_ONE, "lr": 0.1, "replay_batch": 10, "memory": 200}, TEXT_GLANCES),
        "mer": _of_mer(
            {
                **{"lr": 0.1, "within_batch_lr": 0.01, "across_batch_lr": 1.0},
                **{"replay_batch": 10, "batches_per_example": 5, "memory": 200},
            },
            TEXT_REPLAY,
        ),
        "gem": _of_mer({**_ONE_BY_ONE, "lr": 0.01, "margin": 0.0, "memory": 200}),
        "ewc": _of_mer({**_MER_FISHER, "lr": 0.001, "penalty": 200.0}),
        "la_er": Preset({**_LA_ER, "memory": 200, "lr_init": 0.1, "lr_lr": 0.03}, _TEXT_LA_ER),
        "agem": Preset({**_ONE_BY_ONE, "memory": 200, "lr": 0.003, "replay_batch": 50}),
        "la_der": Preset({**_LA_DER, "lr_init": 0.15, "lr_lr": 0.3, "glances": 5, "memory": 197}),
        "fs_dgpm": Preset(_FS_DGPM),
        "bgd": Preset({"mc_samples": 5, "mean_eta": 0.3, "std_init": 0.05}),
        "meta_bgd": _look_ahead(
            {"redraw_per_sample": False},
            inner_steps=3,
            mc_samples=2,
            glances=3,
            memory=200,
            mean_eta=20.0,
            std_init=0.02,
            inner_lr=0.1,
        ),
        "ucb": Preset({"mc_samples": 3, "clip_norm": 2.0, "lr": 0.1, "kl_weight": 0.02}),
        "hat": Preset({"lr": 0.05, "sparsity": 1.5}),
        "icarl": Preset(
            {"memory": 200, "lr": 0.1, "memory_strength": 0.3, "features": "penultimate"}
        ),
        "online": _of_mer({**_ONE_BY_ONE, "lr": 0.0003}),
        "iid": Preset({"lr": 0.1}),
    },
    "mnist_permutations": {
        "la_maml": _look_ahead(
            {"lr_init": 0.3, "lr_lr": 0.15}, lr_init=0.15, lr_lr=0.3, glances=5, memory=200
        ),
        "sync_la_maml": _look_ahead(lr_init=0.15, lr_lr=0.1, outer_lr=0.1, glances=5, memory=200),
        "c_maml": _look_ahead(inner_lr=0.03, outer_lr=0.1, glances=5, memory=200),
        "er": _of_mer({**_ONE_BY_ONE, "lr": 0.1, "replay_batch": 10, "memory": 200}, TEXT_GLANCES),
        "mer": _of_mer(
            {
                **{"lr": 0.03, "within_batch_lr": 0.03, "across_batch_lr": 1.0},
                **{"replay_batch": 10, "batches_per_example": 10, "memory": 200},
            },
            TEXT_REPLAY,
        ),
        "gem": _of_mer({**_ONE_BY_ONE, "lr": 0.01, "margin": 0.0, "memory": 200}),
        "ewc": _of_mer({**_MER_FISHER, "lr": 0.01, "penalty": 20.0}),
        "la_er": Preset({**_LA_ER, "memory": 200, "lr_init": 0.1, "lr_lr": 0.03}, _TEXT_LA_ER),
        "agem": Preset({**_ONE_BY_ONE, "memory": 200, "lr": 0.01, "replay_batch": 10}),
        "la_der": Preset({**_LA_DER, "lr_init": 0.15, "lr_lr": 0.3, "glances": 5, "memory": 197}),
        "fs_dgpm": Preset(_FS_DGPM),
        "bgd": Preset({"mc_samples": 5, "mean_eta": 10.0, "std_init": 0.02}),
        "meta_bgd": _look_ahead(
            {"redraw_per_sample": False},
            inner_steps=3,
            mc_samples=2,
            glances=3,
            memory=200,
            mean_eta=20.0,
            std_init=0.02,
            inner_lr=0.03,
        ),
        "ucb": Preset({"mc_samples": 3, "clip_norm": 2.0, "lr": 0.5, "kl_weight": 0.02}),
        "hat": Preset({"lr": 0.1, "sparsity": 0.75}),
        "icarl": Preset(
            {"memory": 200, "lr": 0.1, "memory_strength": 1.0, "features": "penultimate"}
        ),
        "online": _of_mer({**_ONE_BY_ONE, "lr": 0.003}),
        "iid": Preset({"lr": 0.1}),
    },
    "mnist_many_permutations": {
        "la_maml": _look_ahead(lr_init=0.1, lr_lr=0.1, glances=10, memory=500),
        "sync_la_maml": _look_ahead(lr_init=0.03, lr_lr=0.1, outer_lr=0.03, glances=10, memory=500),
        "c_maml": _look_ahead(inner_lr=0.03, outer_lr=0.15, glances=5, memory=500),
        "er": _of_mer(
            {**_ONE_BY_ONE, "lr": 0.1, "replay_batch": 25, "memory": 500},
            {**TEXT_GLANCES, "replay_batch": 10},
        ),
        "mer": _of_mer(
            {
                **{"lr": 0.03, "within_batch_lr": 0.03, "across_batch_lr": 1.0},
                **{"replay_batch": 5, "batches_per_example": 10, "memory": 500},
            },
            TEXT_REPLAY,
        ),
        "gem": _of_mer({**_ONE_BY_ONE, "lr": 0.003, "margin": 0.1, "memory": 500}),
        "ewc": _of_mer({**_MER_FISHER, "lr": 0.003, "penalty": 2.0}),
        "la_er": Preset({**_LA_ER, "memory": 500, "lr_init": 0.1, "lr_lr": 0.03}, _TEXT_LA_ER),
        "agem": Preset({**_ONE_BY_ONE, "memory": 500, "lr": 0.01, "replay_batch": 10}),
        "la_der": Preset({**_LA_DER, "lr_init": 0.1, "lr_lr": 0.1, "glances": 10, "memory": 493}),
        "fs_dgpm": Preset({**_FS_DGPM, "memory": 500, "threshold_step": 0.0001}),
        "bgd": Preset({"mc_samples": 5, "mean_eta": 10.0, "std_init": 0.02}),
        "meta_bgd": _look_ahead(
            {"redraw_per_sample": False},
            inner_steps=3,
            mc_samples=2,
            glances=3,
            memory=500,
            mean_eta=20.0,
            std_init=0.02,
            inner_lr=0.03,
        ),
        "ucb": Preset({"mc_samples": 3, "clip_norm": 2.0, "lr": 0.5, "kl_weight": 0.02}),
        "hat": Preset({"lr": 0.1, "sparsity": 0.75}),
        "icarl": Preset(
            {"memory": 500, "lr": 0.1, "memory_strength": 1.0, "features": "penultimate"}
        ),
        "online": _of_mer({**_ONE_BY_ONE, "lr": 0.003}),
        "iid": Preset({"lr": 0.1}),
    },
}
"""By benchmark and learner."""
