"""The settings that give the paper's numbers, for every learner on every benchmark.

`python -m experiments.presets` prints each preset with its command, run time and result, as measured.

Sources: the authors' released scripts for La-MAML, Sync La-MAML and C-MAML, with the values of the paper's Table 6
under `--semantics=paper` where the two differ; MER's released scripts for Online, EWC, GEM, ER and MER, one example
at a time. What neither tabulates was chosen by `experiments.tune` on validation data.
"""

import csv
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

Semantics: TypeAlias = Literal["released", "paper"]
Protocol: TypeAlias = Literal["single", "multi"]

MEASURED_RESULTS = pathlib.Path(__file__).parent / "measured_results.csv"
"""What the presets give, as `experiments.collect` gathered it from finished runs."""


class Preset(NamedTuple):
    """The keywords of a learner's factory on one benchmark.

    Attributes:
        keywords: Under the released code's reading of the method.
        paper: What changes under the paper's reading.
    """

    keywords: Mapping[str, Any]
    paper: Mapping[str, Any] = {}


def keywords(
    benchmark: str, learner: str, semantics: Semantics, protocol: Protocol
) -> dict[str, Any]:
    """Return the preset's keywords; in the multi-pass protocol every batch gets one glance per epoch.

    Raises:
        ValueError: There is no preset of this learner on this benchmark.
    """
    if learner not in PRESETS[benchmark]:
        known = ", ".join(PRESETS[benchmark])
        raise ValueError(f"learner is {learner!r}; on {benchmark} there are presets for {known}.")
    preset = PRESETS[benchmark][learner]
    values = dict(preset.keywords)
    if semantics == "paper":
        values.update(preset.paper)
    if protocol == "multi" and "glances" in values:
        values["glances"] = 1
    return values


def command(benchmark: str, learner: str) -> str:
    """Return the command that runs a preset."""
    return (
        f"python -m experiments.train --benchmark={benchmark} --learner={learner} --num_seeds=5 "
        f"--data_dir=DATA --workdir=runs/{benchmark}/{learner}"
    )


# How the authors' code and their text read the method, where they differ.
_RELEASED = {
    "order": "first",
    "meta_loss_at": "every",
    "inner_lr_relu": True,
    "inner_clip": None,
    "replacement": True,
    "age_inclusive": True,
    "push_epochs": "first",
    "shuffle_glances": True,
    "inner_steps": 10,
    "replay_batch": 10,
    "clip_norm": 2.0,
}
_TEXT_REPLAY = {"replacement": False, "age_inclusive": False}
_TEXT = {
    **_TEXT_REPLAY,
    "order": "second",
    "meta_loss_at": "last",
    "inner_lr_relu": False,
    "push_epochs": "every",
    "shuffle_glances": False,
}
_ONE_BY_ONE = {"examples_per_step": 1}
# MER's scripts estimate the Fisher information by the squared gradient of the mean loss on ten examples.
_MER_FISHER = {**_ONE_BY_ONE, "fisher": "batch", "fisher_labels": "data", "fisher_examples": 10}
_LA_ER = {
    **{"order": "first", "inner_lr_relu": True, "inner_steps": 10, "glances": 1},
    **{"replay_batch": 10, "clip_norm": 2.0},
}


def _look_ahead(paper: Mapping[str, Any] | None = None, **values: Any) -> Preset:
    return Preset({**_RELEASED, **values}, {**_TEXT, **(paper or {})})


PRESETS: dict[str, dict[str, Preset]] = {
    "mnist_rotations": {
        "la_maml": _look_ahead(
            {"lr_init": 0.3, "lr_lr": 0.15}, lr_init=0.15, lr_lr=0.3, glances=5, memory=200
        ),
        "sync_la_maml": _look_ahead(lr_init=0.15, lr_lr=0.1, outer_lr=0.3, glances=5, memory=200),
        "c_maml": _look_ahead(inner_lr=0.1, outer_lr=0.1, glances=5, memory=200),
        "er": Preset({**_ONE_BY_ONE, "lr": 0.1, "replay_batch": 10, "memory": 200}, _TEXT_REPLAY),
        "mer": Preset(
            {
                **{"lr": 0.1, "within_batch_lr": 0.01, "across_batch_lr": 1.0},
                **{"replay_batch": 10, "batches_per_example": 5, "memory": 200},
            },
            _TEXT_REPLAY,
        ),
        "gem": Preset({**_ONE_BY_ONE, "lr": 0.01, "margin": 0.0, "memory": 200}),
        "ewc": Preset({**_MER_FISHER, "lr": 0.001, "penalty": 200.0}),
        "la_er": Preset({**_LA_ER, "memory": 200, "lr_init": 0.3, "lr_lr": 0.1}, _TEXT_REPLAY),
        "agem": Preset({**_ONE_BY_ONE, "memory": 200, "lr": 0.003, "replay_batch": 50}),
        "bgd": Preset({"mc_samples": 5, "mean_eta": 0.3, "std_init": 0.05}),
        "meta_bgd": _look_ahead(
            inner_steps=3,
            mc_samples=2,
            glances=3,
            memory=200,
            mean_eta=20.0,
            std_init=0.02,
            inner_lr=0.1,
        ),
        "ucb": Preset({"mc_samples": 3, "clip_norm": 2.0, "lr": 0.1, "kl_weight": 0.02}),
        "hat": Preset({"lr": 0.1, "sparsity": 0.75, "s_max": 100.0}),
        "icarl": Preset(
            {"memory": 200, "lr": 0.1, "memory_strength": 0.3, "features": "penultimate"}
        ),
        "online": Preset({**_ONE_BY_ONE, "lr": 0.0003}),
        "iid": Preset({"lr": 0.1}),
    },
    "mnist_permutations": {
        "la_maml": _look_ahead(
            {"lr_init": 0.3, "lr_lr": 0.15}, lr_init=0.15, lr_lr=0.3, glances=5, memory=200
        ),
        "sync_la_maml": _look_ahead(lr_init=0.15, lr_lr=0.1, outer_lr=0.1, glances=5, memory=200),
        "c_maml": _look_ahead(inner_lr=0.03, outer_lr=0.1, glances=5, memory=200),
        "er": Preset({**_ONE_BY_ONE, "lr": 0.1, "replay_batch": 10, "memory": 200}, _TEXT_REPLAY),
        "mer": Preset(
            {
                **{"lr": 0.03, "within_batch_lr": 0.03, "across_batch_lr": 1.0},
                **{"replay_batch": 10, "batches_per_example": 10, "memory": 200},
            },
            _TEXT_REPLAY,
        ),
        "gem": Preset({**_ONE_BY_ONE, "lr": 0.01, "margin": 0.0, "memory": 200}),
        "ewc": Preset({**_MER_FISHER, "lr": 0.01, "penalty": 20.0}),
        "la_er": Preset({**_LA_ER, "memory": 200, "lr_init": 0.3, "lr_lr": 0.1}, _TEXT_REPLAY),
        "agem": Preset({**_ONE_BY_ONE, "memory": 200, "lr": 0.01, "replay_batch": 10}),
        "bgd": Preset({"mc_samples": 5, "mean_eta": 10.0, "std_init": 0.02}),
        "meta_bgd": _look_ahead(
            inner_steps=3,
            mc_samples=2,
            glances=3,
            memory=200,
            mean_eta=20.0,
            std_init=0.02,
            inner_lr=0.03,
        ),
        "ucb": Preset({"mc_samples": 3, "clip_norm": 2.0, "lr": 0.5, "kl_weight": 0.02}),
        "hat": Preset({"lr": 0.05, "sparsity": 1.5, "s_max": 100.0}),
        "icarl": Preset(
            {"memory": 200, "lr": 0.1, "memory_strength": 1.0, "features": "penultimate"}
        ),
        "online": Preset({**_ONE_BY_ONE, "lr": 0.003}),
        "iid": Preset({"lr": 0.1}),
    },
    "mnist_many_permutations": {
        "la_maml": _look_ahead(lr_init=0.1, lr_lr=0.1, glances=10, memory=500),
        "sync_la_maml": _look_ahead(lr_init=0.03, lr_lr=0.1, outer_lr=0.03, glances=10, memory=500),
        "c_maml": _look_ahead(inner_lr=0.03, outer_lr=0.15, glances=5, memory=500),
        "er": Preset(
            {**_ONE_BY_ONE, "lr": 0.1, "replay_batch": 25, "memory": 500},
            {**_TEXT_REPLAY, "replay_batch": 10},
        ),
        "mer": Preset(
            {
                **{"lr": 0.03, "within_batch_lr": 0.03, "across_batch_lr": 1.0},
                **{"replay_batch": 5, "batches_per_example": 10, "memory": 500},
            },
            _TEXT_REPLAY,
        ),
        "gem": Preset({**_ONE_BY_ONE, "lr": 0.003, "margin": 0.1, "memory": 500}),
        "ewc": Preset({**_MER_FISHER, "lr": 0.003, "penalty": 2.0}),
        "la_er": Preset({**_LA_ER, "memory": 500, "lr_init": 0.3, "lr_lr": 0.1}, _TEXT_REPLAY),
        "agem": Preset({**_ONE_BY_ONE, "memory": 500, "lr": 0.01, "replay_batch": 10}),
        "bgd": Preset({"mc_samples": 5, "mean_eta": 10.0, "std_init": 0.02}),
        "meta_bgd": _look_ahead(
            inner_steps=3,
            mc_samples=2,
            glances=3,
            memory=500,
            mean_eta=20.0,
            std_init=0.02,
            inner_lr=0.03,
        ),
        "ucb": Preset({"mc_samples": 3, "clip_norm": 2.0, "lr": 0.5, "kl_weight": 0.02}),
        "hat": Preset({"lr": 0.05, "sparsity": 1.5, "s_max": 100.0}),
        "online": Preset({**_ONE_BY_ONE, "lr": 0.003}),
        "iid": Preset({"lr": 0.1}),
    },
}
"""By benchmark and learner."""


def main() -> None:
    """Print every preset."""
    with MEASURED_RESULTS.open() as file:
        rows = [
            r for r in csv.DictReader(file) if (r["protocol"], r["heads"]) == ("single", "shared")
        ]
    measured = {(row["benchmark"], row["learner"]): row for row in rows}
    for benchmark, learners in PRESETS.items():
        for learner, preset in learners.items():
            print(command(benchmark, learner))
            print("  " + ", ".join(f"{name}={value}" for name, value in preset.keywords.items()))
            if row := measured.get((benchmark, learner)):
                bti = f", BTI {row['bti_mean']}" if row["bti_mean"] else ""
                took = f"took {row['minutes']} minutes on 2 CPU cores; " if row["minutes"] else ""
                print(f"  {took}RA {row['ra_mean']}{bti}")


if __name__ == "__main__":
    main()
