"""What a sweep is of, what of it shares a program, and what is a unit of its own."""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments.runs.config import Config
from experiments.runs.making import make_config
from experiments.sweeps import command, grid, request
from experiments.sweeps.grid import listed
from experiments.sweeps.plan import plan
from experiments.sweeps.results import Sweep
from lamaml_jax.datasets import ImageDataset

SEEDS = (100, 101)


def config(*assignments: str, learner: str = "er", seeds: tuple[int, ...] = SEEDS) -> Config:
    return make_config(
        benchmark="mnist_rotations",
        learner=learner,
        assignments=list(assignments),
        seeds=seeds,
        stream={"num_tasks": 2},
        network={},
    )


def test_points_that_differ_in_floats_alone_are_one_unit(
    mnist: ImageDataset, tmp_path: pathlib.Path
) -> None:
    configs = [config(f"lr={lr}", f"clip_norm={c}") for lr in (0.1, 0.2) for c in (1, 2)]
    (unit,) = plan(configs, mnist, tmp_path, memory_gb=4)
    assert unit.points == (0, 1, 2, 3)
    assert unit.config.points[2] == {"lr": 0.2, "clip_norm": 1.0}
    assert unit.config.runs().each()[4:6] == [
        (unit.config.points[2], 100),
        (unit.config.points[2], 101),
    ]


@pytest.mark.parametrize(
    "other",
    ["glances=2", "memory=50", "clip_norm=3", "initializer=xavier", "hidden=8x4", "batch_size=5"],
)
def test_what_changes_the_program_is_a_unit_of_its_own(
    other: str, mnist: ImageDataset, tmp_path: pathlib.Path
) -> None:
    configs = [config("lr=0.1"), config("lr=0.1", other), config("lr=0.2")]
    units = plan(configs, mnist, tmp_path, memory_gb=4)
    assert [unit.points for unit in units] == [(0, 2), (1,)]
    assert units[1].config == configs[1]


def test_a_unit_keeps_within_the_memory_and_parts_are_even(
    mnist: ImageDataset, tmp_path: pathlib.Path
) -> None:
    configs = [config(f"lr=0.{i + 1:03d}") for i in range(100)]
    units = plan(configs, mnist, tmp_path, memory_gb=1.7)
    assert [i for unit in units for i in unit.points] == list(range(100))
    sizes = [len(unit.points) for unit in units]
    assert len(sizes) > 1 and max(sizes) - min(sizes) < len(sizes)
    assert len(plan(configs, mnist, tmp_path, memory_gb=2.9)) < len(units)
    with pytest.raises(ValueError, match="memory_gb is 0.5; it must be more for 2 seeds of er"):
        plan(configs, mnist, tmp_path, memory_gb=0.5)


def test_streams_can_be_swept_with_the_weights_kept(
    mnist: ImageDataset, tmp_path: pathlib.Path
) -> None:
    configs = [config(f"stream_seed={seed}", learner="online") for seed in (5, 6)]
    (unit,) = plan(configs, mnist, tmp_path, memory_gb=4)
    functions = unit.config.make_run(unit.config.make_benchmark(mnist))
    runs = unit.config.runs().stacked()
    images, weights = jax.vmap(lambda run: (functions.draw_stream(run).train.image, run.key))(runs)
    first, again, other, _ = np.asarray(images)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    keys = jax.random.key_data(weights)
    np.testing.assert_array_equal(keys[:2], keys[2:])
    assert not np.array_equal(keys[0], keys[1])


def requested(
    folder: pathlib.Path, name: str, *values: str, given: Sequence[str] = ()
) -> request.Request:
    axis = listed(name, values)
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["sweep", "--packaged_mnist", *given])
        return request.make("online", [axis], grid.product([axis]), folder, num_seeds=1)


def test_a_swept_stream_keeps_what_its_points_share(tmp_path: pathlib.Path) -> None:
    wanted = requested(tmp_path, "batch_size", "5", "10")
    shared = command._description(wanted)["settings"]["stream"]
    assert shared["eval_split"] == "validation" and "batch_size" not in shared


def test_points_are_different_however_they_are_written(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="the points 8x8 and 8x08, which are the same"):
        requested(tmp_path, "hidden", "8x8", "8x08")
    with pytest.raises(ValueError, match="the points 0.1 and 0.1000000001, which are the same"):
        requested(tmp_path, "lr", "0.1", "0.2", "0.1000000001")


def test_what_a_grid_is_over_has_no_flag_beside_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="num_tasks is given by --num_tasks and by --grid; it mu"):
        requested(tmp_path, "num_tasks", "2", "3", given=["--num_tasks=5"])


def test_points_that_are_level_but_for_rounding_keep_their_order() -> None:
    values = 100 * np.float32([[0.35, 0.7], [0.3, 0.75], [0.35, 0.70000002], [0.6, 0.6]])
    no_seconds = np.zeros(4)
    sweep = Sweep((), (), (0, 1), {"ra": values}, np.isnan(values), no_seconds, no_seconds)
    assert sweep.ranking() == [3, 0, 1, 2]
