"""Runs on a cluster, before Ray has part in them: how they are divided and merged, what is refused."""

import contextlib
import fcntl
import itertools
import json
import pathlib
import sys
import threading
import time

import numpy as np
import pytest
from running import keeping_programs, run_script, run_train

from experiments import sweep
from experiments.cluster import merging, units, work, worker
from experiments.runs import identity, locks, runner, workdirs
from experiments.runs.config import Config
from experiments.runs.making import make_config
from experiments.sweeps.plan import plan
from lamaml_jax import checkpoint
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.training import saving

pytestmark = pytest.mark.usefixtures("quick_compile")

TINY = ("--packaged_mnist", "--learner=online", "--num_tasks=2", "--samples_per_task=20")


def swept(dataset: ImageDataset, *lrs: float, seeds: tuple[int, ...] = (0, 1)) -> Config:
    """Return a run at several points, as a sweep has it."""
    configs = [
        make_config(
            benchmark="mnist_rotations",
            learner="la_maml",
            assignments=["glances=1", "inner_steps=2", "memory=20", f"lr_init={lr}"],
            seeds=seeds,
            stream={"num_tasks": 2, "samples_per_task": 20},
            network={},
            eval="needed",
        )
        for lr in lrs
    ]
    (unit,) = plan(configs, dataset, pathlib.Path(), 8)
    return unit.config


# Units.


@pytest.mark.parametrize(
    ("unit_runs", "sizes"),
    [(1, [1] * 9), (2, [1, 2] * 3), (3, [3] * 3), (5, [3] * 3), (6, [3, 6]), (9, [9]), (50, [9])],
)
def test_units_have_all_runs_once_and_in_order(
    unit_runs: int, sizes: list[int], mnist: ImageDataset, tmp_path: pathlib.Path
) -> None:
    config = swept(mnist, 0.1, 0.2, 0.3, seeds=(4, 5, 6))
    parts = units.divide(config, tmp_path, unit_runs, 2)
    assert [len(part.config.runs().each()) for part in parts] == sizes
    each = itertools.chain.from_iterable(part.config.runs().each() for part in parts)
    assert list(each) == config.runs().each()
    assert len({part.folder for part in parts}) == len(parts)


@pytest.fixture(scope="module")
def whole(
    mnist: ImageDataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Config, pathlib.Path]:
    """A run at two points, one of which diverges, on one machine."""
    config, folder = swept(mnist, 0.1, 1e30), tmp_path_factory.mktemp("whole")
    runner.run(config, mnist, folder)
    return config, folder


def test_merged_units_are_the_files_of_one_machine(
    whole: tuple[Config, pathlib.Path],
    mnist: ImageDataset,
    tmp_path: pathlib.Path,
) -> None:
    """Those that diverge end earlier by themselves, and have not all the states."""
    config, expected = whole
    parts = units.divide(config, tmp_path, 1, 2)
    with keeping_programs():
        for part in parts:
            runner.run(part.config, mnist, part.folder)
            assert part.place() == (part.stages, 0)
    merging.merge(config, mnist, tmp_path, parts)
    names = {str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file()}
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in there if not name.startswith(workdirs.CLUSTER)} == names
    for name in names - {"summary.json", "state/1", "state/2"}:
        assert (tmp_path / name).read_bytes() == (expected / name).read_bytes(), name
    found, wanted = (json.loads((f / "summary.json").read_bytes()) for f in (tmp_path, expected))
    assert list(found) == list(wanted)
    assert found["num_points"] == 2 and found["diverged_seeds"] == [0, 1]
    for place in ("1", "2"):
        found, wanted = (
            saving.read_arrays(folder / "state" / place) for folder in (tmp_path, expected)
        )
        assert list(found) == list(wanted)
        whole_runs = [n for n in wanted if n.startswith("['state']")]
        for name in whole_runs:
            np.testing.assert_array_equal(found[name][:2], wanted[name][:2], err_msg=name)
            assert found[name].shape == wanted[name].shape


def test_a_state_that_not_all_units_have_is_not_merged(
    mnist: ImageDataset, tmp_path: pathlib.Path
) -> None:
    """It would be of several places at once; nor is anything merged into a folder that another process holds."""
    config = swept(mnist, 0.1)
    parts = units.divide(config, tmp_path, 1, 2)
    with keeping_programs():
        for part, minutes in zip(parts, (0.0, 5.0), strict=True):
            runner.run(part.config, mnist, part.folder, checkpoint_minutes=minutes)
    saved = [checkpoint.saved(part.folder / "state") for part in parts]
    assert saved == [[(1, 1), (2, 0)], [(1, 0), (2, 0)]]
    with (tmp_path / locks.NAME).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="where another process is at work"):
            merging.merge(config, mnist, tmp_path, parts)
    assert {path.name for path in tmp_path.iterdir()} == {workdirs.CLUSTER, locks.NAME}
    merging.merge(config, mnist, tmp_path, parts)
    assert checkpoint.saved(tmp_path / "state") == [(2, 0)]


def test_a_unit_waits_for_a_process_that_is_about_to_end(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose machine is dead, until the file system lets go of its lock."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(locks.hold(tmp_path))
        monkeypatch.setattr(worker, "LOCK_SECONDS", 0.0)
        with pytest.raises(ValueError, match="another process is at work"):
            worker.wait_for(tmp_path, locks)
        monkeypatch.setattr(worker, "LOCK_SECONDS", 60.0)
        threading.Timer(0.5, stack.pop_all().close).start()
        begun = time.monotonic()
        worker.wait_for(tmp_path, locks)
        assert time.monotonic() - begun > 0.4


def test_a_unit_whose_file_system_fails_is_tried_again(tmp_path: pathlib.Path) -> None:
    """What is wrong with the run itself is not."""
    (tmp_path / "file").touch()
    outcome = worker.outcome_of(lambda: worker.wait_for(tmp_path / "file" / "unit", locks))
    assert outcome.kind == "failed" and "Not a directory" in outcome.sentence
    outcome = worker.outcome_of(lambda: workdirs.read_description(tmp_path) and None)
    assert outcome.kind == "refused" and "which holds no run" in outcome.sentence


def test_states_are_said_to_be_kept_only_where_they_are(
    mnist: ImageDataset, tmp_path: pathlib.Path
) -> None:
    parts = units.divide(swept(mnist, 0.1), tmp_path, 1, 2)
    assert work.stopped(3, parts, 0) == (
        "stopped after 3 of 4 tasks of all units, whose states are kept; the same command goes on."
    )
    assert "whose states are kept" not in work.stopped(3, parts, 1)


def test_only_tries_that_come_no_further_count(mnist: ImageDataset, tmp_path: pathlib.Path) -> None:
    """A task may take longer than machines live."""
    unit = units.Unit(swept(mnist, 0.1), tmp_path, 2, 2)
    counts, before = [], None
    for place in (None, (0, 10), (0, 10), (0, 20), (1, 0), (1, 0), (1, 0)):
        if place is not None:
            checkpoint.save(tmp_path / "state", checkpoint.Place(*place), {"a": np.zeros(1)})
        before = work.ended_at(unit.place(), before)
        counts.append(before[1])
    assert counts == [1, 1, 2, 1, 1, 2, 3]


# What is refused.


def test_units_of_a_run_are_computed_alike(mnist: ImageDataset, tmp_path: pathlib.Path) -> None:
    """How many devices each has may differ."""
    first, second = units.divide(swept(mnist, 0.1), tmp_path, 1, 2)
    workdirs.claim(first.folder, first.config, mnist)
    here = identity.describe(second.config, mnist)
    units.check_alike(second.folder, here)
    _, _, device = here["device"].partition(" x ")
    units.check_alike(second.folder, here | {"device": f"17 x {device}"})
    for name, other in (("versions", here["versions"] | {"jax": "0.1"}), ("device", "1 x TPU")):
        with pytest.raises(ValueError, match=rf"cannot go with .*0000.* other {name}.*here"):
            units.check_alike(second.folder, here | {name: other})
    units.check_alike(first.folder, here | {"versions": {}})


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--unit_cpus=2",), "unit_cpus is given and cluster is not"),
        (("--cluster=local", "--devices=2"), "devices and cluster are both given"),
        (("--cluster=here",), "cluster is 'here'; it must be auto, local or HOST:PORT."),
        (("--cluster=ray://a:1",), "cluster is 'ray://a:1'; it must be auto, local or HOST:PORT."),
        (("--cluster=local", "--diagnostics"), "diagnostics and cluster are both given"),
        (("--cluster=local", "--tensorboard"), "tensorboard and cluster are both given"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    flags: tuple[str, ...],
    reason: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run_train(*TINY, *flags, f"--workdir={tmp_path / 'run'}")
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


def test_without_ray_one_sentence_names_the_extra(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "0")
    flags = ("--grid=lr=0.1,0.2", "--cluster=local", f"--workdir={tmp_path}")
    with pytest.raises(SystemExit):
        run_script(sweep, *TINY, *flags)
    assert capsys.readouterr().err == (
        "error: cluster is 'local', and ray is not installed; pip install 'lamaml-jax[cluster]' brings it.\n"
    )


def test_a_run_goes_on_as_it_was_begun(
    tmp_path: pathlib.Path, mnist: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was computed one way would be lost the other way."""
    alone, divided = tmp_path / "alone", tmp_path / "divided"
    flags = (*TINY, "--num_seeds=2")
    run_train(*flags, f"--workdir={alone}")
    (alone / "summary.json").unlink()
    units.write_division(divided, 1)
    with pytest.raises(SystemExit):
        run_train(*flags, "--cluster=local", f"--workdir={alone}")
    assert "begun on one machine; go on without --cluster" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_train(*flags, f"--workdir={divided}")
    assert "holds units of a cluster; pass --cluster=local" in capsys.readouterr().err
    run_train(*flags, f"--workdir={divided}", "--overwrite")
    assert not (divided / workdirs.CLUSTER).exists()
