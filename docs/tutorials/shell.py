"""Commands on these pages, run as a reader runs them: in a folder of their own, with the scripts of this checkout."""

import atexit
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def enter_empty_folder() -> None:
    """Go to a folder for the files that a page writes, which goes when the page is done."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chdir(folder)


def shell(command: str) -> None:
    """Run `python ...` and print what it prints.

    Raises:
        RuntimeError: It failed; the message is what it said.
    """
    _, *arguments = shlex.split(command)
    paths = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    print(done.stdout, end="")
