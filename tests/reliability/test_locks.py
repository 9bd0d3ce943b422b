"""Two processes on one work directory: the second is told of the first, and of none that is dead."""

import pathlib
import platform
import shutil
import subprocess
import sys

import pytest

from experiments.runs import locks

ROOT = pathlib.Path(locks.__file__).parents[2]
HOLD = """
import pathlib, sys
from experiments.runs import locks
with locks.hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(folder: pathlib.Path) -> subprocess.Popen[str]:
    """Start a process that holds a folder's lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_first_is_named_until_it_is_dead(tmp_path: pathlib.Path) -> None:
    with holding(tmp_path) as first:
        named = rf"another process is at work \(host {platform.node()}, process {first.pid}\)"
        with pytest.raises(ValueError, match=named), locks.hold(tmp_path):
            pass
        first.kill()
        first.wait()
        assert (tmp_path / locks.NAME).exists(), "it had no time to tidy"
        with locks.hold(tmp_path):
            pass
    assert not (tmp_path / locks.NAME).exists()


def test_a_lock_that_was_removed_with_its_folder_takes_no_other_away(
    tmp_path: pathlib.Path,
) -> None:
    folder = tmp_path / "run"
    with locks.hold(folder):
        shutil.rmtree(folder)
        second = holding(folder)
    assert (folder / locks.NAME).exists()
    second.communicate("")
    assert second.returncode == 0 and not (folder / locks.NAME).exists()
