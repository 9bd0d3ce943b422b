"""Runs that are stopped from without go on to the same bits, wherever they were."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from blobs import FAST, NETWORK, blobs, trained
from helpers import assert_same_bits
from running import keeping_programs, quick_environment, run_train

from experiments.process import signals
from lamaml_jax import la_maml, train, training
from lamaml_jax.checkpoint import Place, saved
from lamaml_jax.training import Interrupted

pytestmark = pytest.mark.usefixtures("quick_compile")

ROOT = pathlib.Path(__file__).parents[2]
LONG = (
    *("--packaged_mnist", "--learner=la_maml", "--num_seeds=2", "--num_tasks=3", "--eval=needed"),
    *("--set=inner_steps=2", "--set=hidden=16", "--samples_per_task=600"),
)
KEPT_OFTEN = "--checkpoint_minutes=0"
"""The state is kept after every call inside tasks, of a batch or a few."""

# Where these tests run in the background of a shell, it has all that they start ignore interrupts.
WITH_INTERRUPTS = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("experiments.train", run_name="__main__", alter_sys=True)
"""

ARGUMENTS: Any = {"seeds": (3, 5), "lr_init": [0.02, 0.1, 0.2], **FAST}


class Ticking(training.Clock):
    """A clock on which a second passes whenever it is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def now(self) -> float:
        self._now += 1
        return self._now


def test_a_run_stopped_inside_a_task_goes_on_to_the_same_bits(tmp_path: pathlib.Path) -> None:
    places = []
    for stop_at in range(1, 9):
        since = places[-1] if places else Place(0)
        asked, told = iter(range(100)), []

        def should_stop(asked: Any = asked, stop_at: int = stop_at) -> bool:
            return next(asked) == stop_at

        def on_task(progress: Any, told: Any = told, since: Any = since) -> None:
            told.append(progress.done)
            assert told[0] == since.stage + (since.batches > 0), "not inside a task"

        keep: Any = {"checkpoint_dir": tmp_path, "checkpoint_seconds": 2, "clock": Ticking()}
        try:
            with keeping_programs():
                result = train(
                    la_maml,
                    NETWORK,
                    blobs(),
                    **ARGUMENTS,
                    **keep,
                    should_stop=should_stop,
                    on_task=on_task,
                )
        except Interrupted as stopped:
            places.append(stopped.place)
            assert stopped.folder == tmp_path and saved(tmp_path)[-1] == stopped.place
            assert len(saved(tmp_path)) <= 2
            continue
        break
    assert any(place.batches for place in places), places
    assert_same_bits(result.record, trained().record)
    assert_same_bits(result.state, trained().state)


def test_states_inside_tasks_are_kept_as_often_as_asked(tmp_path: pathlib.Path) -> None:
    kept: list[Place] = []

    def look(progress: Any) -> None:
        kept.extend(place for place in saved(tmp_path) if place not in kept)

    train(la_maml, NETWORK, blobs(), **ARGUMENTS, checkpoint_dir=tmp_path / "none", on_task=look)
    assert not any(place.batches for place in saved(tmp_path / "none"))
    clock = Ticking()
    train(
        *(la_maml, NETWORK, blobs()),
        **ARGUMENTS,
        checkpoint_dir=tmp_path,
        checkpoint_seconds=3,
        clock=clock,
        on_task=look,
    )
    assert any(place.batches for place in kept)


def started(workdir: pathlib.Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WITH_INTERRUPTS, *LONG, KEPT_OFTEN, f"--workdir={workdir}"],
        cwd=ROOT,
        env=quick_environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("whole")
    run_train(*LONG, f"--workdir={workdir}")
    return workdir


def assert_same_run(found: pathlib.Path, expected: pathlib.Path) -> None:
    results = [dict(np.load(folder / "results.npz")) for folder in (found, expected)]
    assert set(results[0]) == set(results[1])
    for name, array in results[1].items():
        np.testing.assert_array_equal(results[0][name], array, err_msg=name)
    for name in ("results.npz", "metrics.jsonl"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()


def kept_inside(workdir: pathlib.Path) -> set[str]:
    """Return the names of the states that are kept inside tasks."""
    return {path.name for path in (workdir / "state").glob("*.*[0-9]")}


def test_each_signal_inside_a_task_keeps_the_state_first(
    whole: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (signal.SIGINT, signal.SIGUSR1):
        so_far, ended = kept_inside(tmp_path), threading.Event()

        def ask(so_far: Any = so_far, ended: Any = ended, number: int = number) -> None:
            while not kept_inside(tmp_path) - so_far and not ended.is_set():
                time.sleep(0.01)
            os.kill(os.getpid(), number)

        before = signal.signal(number, lambda *_: None)  # a run that is over leaves it to pytest
        asking = threading.Thread(target=ask)
        try:
            asking.start()
            with pytest.raises(SystemExit) as stopped:
                run_train(*LONG, KEPT_OFTEN, f"--workdir={tmp_path}")
        finally:
            ended.set()
            asking.join()
            signal.signal(number, before)
        assert stopped.value.code == signals.UNFINISHED
        assert f"the state is kept in {tmp_path / 'state'}" in capsys.readouterr().err
    run_train(*LONG, f"--workdir={tmp_path}")
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize(
    "name", ["SIGTERM", *(pytest.param(n, marks=pytest.mark.slow) for n in ("SIGINT", "SIGUSR1"))]
)
def test_a_signal_inside_a_task_keeps_the_state_first(
    name: str, whole: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    process = started(workdir)
    while process.poll() is None and not kept_inside(workdir):
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    _, error = process.communicate()
    assert process.returncode == signals.UNFINISHED == 75, error
    assert f"the state is kept in {workdir / 'state'}" in error and "Traceback" not in error
    assert not (workdir / "summary.json").exists()
    run_train(*LONG, f"--workdir={workdir}")
    assert_same_run(workdir, whole)


def killed(workdir: pathlib.Path, seconds: float, *, learning: bool) -> bool:
    """Kill a run some time after it starts or, learning, after it has kept a state; return whether it was at work."""
    before, process = saved(workdir / "state")[-1:], started(workdir)
    while learning and process.poll() is None and saved(workdir / "state")[-1:] == before:
        time.sleep(0.005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_run_killed_while_it_starts_and_inside_a_task_is_the_same_run(
    whole: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    assert killed(workdir, 1, learning=False) and not saved(workdir / "state")
    assert killed(workdir, 0, learning=True) and kept_inside(workdir)
    run_train(*LONG, f"--workdir={workdir}")
    assert_same_run(workdir, whole)


@pytest.mark.slow
def test_runs_killed_at_twenty_random_instants_are_the_same_run(
    whole: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Every other instant is counted from the start; where a run ends before, another goes on."""
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    kills, runs = 0, [tmp_path / "0"]
    while kills < 20:
        learning = bool(kills % 2)
        kills += killed(runs[-1], rng.uniform(0, 0.3 if learning else 10), learning=learning)
        if (runs[-1] / "summary.json").exists():
            runs.append(tmp_path / str(len(runs)))
    for workdir in runs:
        run_train(*LONG, f"--workdir={workdir}")
        assert_same_run(workdir, whole)
