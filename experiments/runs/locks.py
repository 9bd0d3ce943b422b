"""One process at a time in a work directory."""

import contextlib
import fcntl
import os
import pathlib
import platform
import sys
from collections.abc import Iterator
from typing import BinaryIO

NAME = ".lamaml_jax.lock"

_HELD: dict[str, BinaryIO] = {}  # by this process, the file that it locked in each folder


@contextlib.contextmanager
def hold(folder: pathlib.Path) -> Iterator[None]:
    """Keep other processes out of a work directory, which is made if it is not there, during the block.

    The lock is the system's, which lets go of it when the process ends, however it ends. The file that is locked says
    who holds it.

    Raises:
        ValueError: Another process is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    file = _lock(path)
    if file is None:
        raise ValueError(
            f"workdir is {str(folder)!r}, where another process is at work ({_holder(path)}); wait until it ends, "
            "or take another folder."
        )
    with file:
        with contextlib.suppress(OSError):  # A full disk takes no name, and locks all the same.
            file.truncate(0)
            file.write(f"host {platform.node()}, process {os.getpid()}".encode())
        key = os.path.abspath(folder)
        before = _HELD.get(key)
        _HELD[key] = file
        try:
            yield
        finally:
            del _HELD[key]
            if before is not None:
                _HELD[key] = before
            if _is_at(path, file):  # and not another's, where the folder was removed meanwhile
                path.unlink(missing_ok=True)


def is_held(folder: pathlib.Path) -> bool:
    """Return whether this process still keeps others out of a folder; not where the folder was removed meanwhile."""
    file = _HELD.get(os.path.abspath(folder))
    return file is not None and _is_at(folder / NAME, file)


def _lock(path: pathlib.Path) -> BinaryIO | None:
    """Return the file, locked as far as its file system can, or None if another process holds it."""
    while True:
        file = path.open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            print(f"warning: {path.parent} cannot be locked: {error.strerror}", file=sys.stderr)
            return file
        # A process that ended in between has removed the file that was opened.
        if _is_at(path, file):
            return file
        file.close()


def _is_at(path: pathlib.Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "one that has just started"
    except FileNotFoundError:
        return "one that has just ended"
