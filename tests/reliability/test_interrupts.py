"""Interrupts of the scripts, as Ctrl-C sends them."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.process import signals, startup
from experiments.runs import locks

ROOT = pathlib.Path(startup.__file__).parents[2]
WITH_INTERRUPTS = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
wanted, script = sys.argv[1:3]
class Interrupting:
    def find_spec(self, name, *arguments):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
del sys.argv[:2]
runpy.run_path(script, run_name="__main__")
"""


SCRIPTS = sorted(path.stem for path in (ROOT / "experiments").glob("[a-z]*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_interrupt_of_imports_is_told_in_one_sentence(script: str) -> None:
    path = str(ROOT / "experiments" / f"{script}.py")
    command = [sys.executable, "-c", WITH_INTERRUPTS, "jax", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == f"\n{startup.SENTENCE}\n"


def test_an_interrupt_of_a_run_says_that_the_same_command_goes_on(tmp_path: pathlib.Path) -> None:
    arguments = ["--packaged_mnist", "--learner=online", "--num_seeds=2", f"--workdir={tmp_path}"]
    path = str(ROOT / "experiments" / "train.py")
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_INTERRUPTS, "", path, *arguments],
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list(tmp_path.glob("state/*[0-9]")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 75, error
    assert "the state is kept in" in error and "Traceback" not in error
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"config.json", "metrics.jsonl", "state"}, "the lock is gone, nothing is half"


AT_A_CALL = """
import importlib, os, runpy, signal, sys
number, module, name, script = sys.argv[1:5]
sys.path.insert(0, os.path.dirname(os.path.dirname(script)))
del sys.argv[:4]
of = importlib.import_module(module)
called = getattr(of, name)
def calling(*arguments, **keywords):
    os.kill(os.getpid(), int(number))
    return called(*arguments, **keywords)
setattr(of, name, calling)
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("number", "module", "name"),
    [
        (signal.SIGTERM, "experiments.process.options", "dataset"),
        (signal.SIGUSR1, "experiments.runs.runner", "draw"),
    ],
)
def test_a_signal_while_nothing_is_trained_says_that_the_same_command_goes_on(
    number: int, module: str, name: str, tmp_path: pathlib.Path
) -> None:
    """While data are loaded, and between the runs of two learners."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", AT_A_CALL, str(int(number)), module, name),
            *(str(ROOT / "experiments" / "train.py"), "--packaged_mnist", "--learner=online,er"),
            *("--smoke", "--num_tasks=1", "--samples_per_task=20", "--num_seeds=1"),
            f"--workdir={tmp_path / 'run'}",
        ],
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 75, done.stderr
    assert done.stderr.endswith(f"\n{signals.SENTENCE}\n") and "Traceback" not in done.stderr
    left = {path.name for path in tmp_path.glob("run/online/*.json")}
    assert left == ({"config.json", "summary.json"} if name == "draw" else set())
    assert not list(tmp_path.rglob(locks.NAME)), "what was open is closed"


def test_a_signal_of_imports_ends_with_the_same_sentence() -> None:
    path = str(ROOT / "experiments" / "train.py")
    code = WITH_INTERRUPTS.replace("os.getpid(), signal.SIGINT", "os.getpid(), signal.SIGTERM")
    command = [sys.executable, "-c", code, "jax", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 75 and done.stderr == f"\n{signals.SENTENCE}\n"


def test_what_asks_too_late_for_training_is_heard_after_it() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        with signals.asked_to_stop() as should_stop:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert should_stop() and not heard
        assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)
