"""Runs on Split CIFAR-100 with a small network: every learner on the training script's path, mostly in ten epochs."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from photographs import photographs, small
from running import users_environment

import lamaml_jax
from experiments.reporting.summary import comparison_table
from experiments.runs import runner

pytestmark = pytest.mark.usefixtures("quick_compile")

# One of each kind, the dearest of which stand for their brothers: of look-ahead, projection, gates, exemplars, a mixed
# stream, a posterior, and a batch per example. Replay is in other tests here.
QUICK = {"la_maml", "gem", "hat", "icarl", "iid", "ucb", "mer"}


def on_the_multi_pass_protocol(learner: str) -> Any:
    marks = () if learner in QUICK else pytest.mark.slow
    return pytest.param(learner, "multi", marks=marks)


@pytest.mark.parametrize(
    ("learner", "protocol"),
    [("agem", "single"), *map(on_the_multi_pass_protocol, lamaml_jax.LEARNERS)],
)
def test_every_learner_runs(learner: str, protocol: Any, tmp_path: pathlib.Path) -> None:
    short = {"mer": ["batches_per_example=1", "replay_batch=2"], "la_maml": ["inner_steps=2"]}
    config = small(learner, *short.get(learner, []), protocol=protocol)
    summary = runner.run(config, photographs(), tmp_path)
    with np.load(tmp_path / "results.npz") as results:
        accuracy, loss = results["accuracy"], results["loss"]
    assert summary["diverged_seeds"] == []
    assert accuracy.shape == (2, 3, 2)
    assert np.isfinite(accuracy[:, [0, -1]]).all()
    batches = config.stream["epochs"] * -(-45 // config.stream["batch_size"])
    if learner == "iid":  # which is trained on all tasks at once
        batches = config.stream["epochs"] * -(-90 // 32)
    assert loss.shape == (2, 2, batches)


def test_what_is_learnt_shows_in_the_accuracy(tmp_path: pathlib.Path) -> None:
    """Five colours of one task are told apart, by the outputs of its own head alone."""
    config = small("er", "lr=0.1", "replay_batch=10", stream={"num_tasks": 3})
    summary = runner.run(config, photographs(), tmp_path)
    assert summary["la_mean"] > 60  # 20 by chance among its five classes, 7 among all fifteen
    assert summary["standard_stream"] is False


def test_a_run_on_tiny_imagenet(tmp_path: pathlib.Path) -> None:
    settings = ("lr=0.1", "replay_batch=10", "glances=10")
    config = small("er", *settings, benchmark="split_tiny_imagenet")
    summary = runner.run(config, photographs(200, 64), tmp_path)
    assert summary["la_mean"] > 50  # 20 by chance among five classes


@pytest.mark.parametrize(
    ("stream", "network"),
    [
        ({"classes_per_task": 10}, {"convolution": "lax"}),
        ({"class_order": "superclass"}, {"precision": "bfloat16"}),
    ],
)
def test_runs_with_other_streams_and_networks(
    stream: Any, network: Any, tmp_path: pathlib.Path
) -> None:
    images = photographs()._replace(superclasses=np.arange(100, dtype=np.int32) % 20)
    common: dict[str, Any] = {"filters": (4, 4), "hidden": (8,)}
    config = small("er", "lr=0.1", stream={"num_tasks": 2, **stream}, network=common | network)
    summary = runner.run(config, images, tmp_path)
    assert summary["training_images_per_task"] == 9 * stream.get("classes_per_task", 5)
    assert summary["la_mean"] > 35


def test_a_run_says_how_many_images_a_task_has(tmp_path: pathlib.Path) -> None:
    summary = runner.run(small("er"), photographs(), tmp_path)
    assert summary["training_images_per_task"] == 45
    assert summary["evaluation_images_per_task"] == 10
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["data"] == "cifar100_subset"
    table = comparison_table([summary])
    assert "45 training images, evaluated on 10" in table
    assert "on a subset" not in table
    assert "on a subset" in comparison_table([{**summary, "standard_stream": True}])


@pytest.mark.slow
def test_a_seed_alone_on_all_cores_has_the_bits_of_one_beside_others(
    tmp_path: pathlib.Path,
) -> None:
    """With the paper's network, whose products a single seed shares between the cores."""
    code = """
import pathlib, sys
sys.path.insert(0, "tests")
from experiments.process import backend
num_seeds = int(sys.argv[1])
backend.configure("split_cifar100", num_seeds)
import jax, test_split_runs
from experiments.runs import runner
expected = 1 if num_seeds == 1 else min(backend._num_cores(), num_seeds)
assert jax.device_count() == expected, jax.devices()
config = test_split_runs.small(
    "la_maml", "glances=2", seeds=tuple(range(num_seeds)), network={}, eval="needed"
)
runner.run(config, test_split_runs.photographs(), pathlib.Path(sys.argv[2]))
"""
    results = []
    for num_seeds in (1, 3):
        folder = tmp_path / str(num_seeds)
        command = [sys.executable, "-c", code, str(num_seeds), str(folder)]
        root = pathlib.Path(__file__).parents[2]
        subprocess.run(command, cwd=root, env=users_environment(), check=True)
        results.append(np.load(folder / "results.npz"))
    alone, beside = results
    for name in ("accuracy", "loss", "gradient_norm", "lr_gradient_norm"):
        np.testing.assert_array_equal(alone[name][0], beside[name][0], err_msg=name)
    # The cores share this sum as well, which nothing but the report depends on.
    np.testing.assert_allclose(alone["rate_mean"][0], beside["rate_mean"][0], rtol=1e-5)
    assert not np.array_equal(beside["loss"][0], beside["loss"][1])
