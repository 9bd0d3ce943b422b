"""Interrupts of the scripts, as Ctrl-C sends them."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.process import startup

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
