"""Save and restore everything that a run needs to go on, bit for bit."""

import pathlib
import zipfile
from typing import Any

import chex
import jax
import numpy as np

from lamaml_jax.files import write_whole


def save(directory: pathlib.Path, step: int, tree: chex.ArrayTree) -> None:
    """Write `tree` as the state after `step`, then remove older ones.

    A state is one file in NumPy's npz format, whose entries are named after the leaves' paths. It appears under its
    final name only when it is whole, so that an interruption leaves the one before.

    Args:
        directory: Holds one file per step.
        step: Counts up from 0.
        tree: A pytree of arrays and numbers on the host; device arrays that are donated later must be copied first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    older = saved_steps(directory)
    with write_whole(directory / str(step)) as file:
        np.savez(file, allow_pickle=False, **_by_path(tree))
    for old in older:
        if old != step:
            (directory / str(old)).unlink()


def restore(directory: pathlib.Path, like: chex.ArrayTree) -> tuple[int, Any] | None:
    """Return the last step saved and its tree, with structure, shapes and dtypes of `like`, or None.

    Raises:
        ValueError: The file is damaged, or is of another tree.
    """
    steps = saved_steps(directory)
    if not steps:
        return None
    path = directory / str(steps[-1])
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            leaves = [_like(saved[name], leaf) for name, leaf in _by_path(like).items()]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is damaged ({error}); remove it, and the run begins anew."
        ) from None
    return steps[-1], jax.tree.unflatten(jax.tree.structure(like), leaves)


def saved_steps(directory: pathlib.Path) -> list[int]:
    """Return the steps that have been saved, in order."""
    if not directory.is_dir():
        return []
    files = (path for path in directory.iterdir() if path.is_file())
    return sorted(int(path.name) for path in files if path.name.isdecimal())


def _by_path(tree: chex.ArrayTree) -> dict[str, Any]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _like(saved: np.ndarray, leaf: Any) -> Any:
    wanted = np.asarray(leaf)
    if saved.dtype.kind == "V":  # how NumPy writes a type that is not its own, such as bfloat16
        saved = saved.view(wanted.dtype)
    if (saved.shape, saved.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(
            f"{saved.dtype}{list(saved.shape)} stands for {wanted.dtype}{list(wanted.shape)}"
        )
    return saved if isinstance(leaf, np.ndarray | jax.Array) else saved.item()
