"""Save and restore everything that a run needs to go on, bit for bit."""

import pathlib
import shutil
from typing import Any

import chex
import orbax.checkpoint as ocp


def save(directory: pathlib.Path, step: int, tree: chex.ArrayTree) -> None:
    """Write `tree` as the state after `step`, then remove older ones.

    The state appears under its final name only when it is whole, so that an interruption leaves the one before.

    Args:
        directory: Holds one folder per step.
        step: Counts up from 0.
        tree: A pytree of arrays on the host; device arrays that are donated later must be copied first.
    """
    older = _steps(directory)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory.resolve() / str(step), tree, force=True)
    for old in older:
        if old != step:
            shutil.rmtree(directory / str(old))


def restore(directory: pathlib.Path, like: chex.ArrayTree) -> tuple[int, Any] | None:
    """Return the last step saved and its tree, with structure, shapes and dtypes of `like`, or None."""
    steps = _steps(directory)
    if not steps:
        return None
    with ocp.StandardCheckpointer() as checkpointer:
        return steps[-1], checkpointer.restore(directory.resolve() / str(steps[-1]), like)


def _steps(directory: pathlib.Path) -> list[int]:
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())
