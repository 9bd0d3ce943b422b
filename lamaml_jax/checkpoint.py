"""Save and restore everything that a run needs to go on, bit for bit.

A state is one NumPy file and not orbax's, to which paths are patterns and URLs (a folder with brackets or a backslash
is written but not read back) and whose import alone takes seconds.
"""

import pathlib
import re
import warnings
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from lamaml_jax.files import read_npz, write_whole

DAMAGED = ".damaged"
"""What the name of a damaged state ends with once one before it was taken."""

_ANEW = "remove it, and the run begins anew"


class Place(NamedTuple):
    """Where a run was when its state was saved.

    Attributes:
        stage: How many tasks had been learnt.
        batches: How many batches of the next one.
    """

    stage: int
    batches: int = 0

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.stage}.{self.batches}" if self.batches else str(self.stage)


class Damaged(ValueError):
    """A file cannot be read."""


def save(directory: pathlib.Path, place: Place, tree: chex.ArrayTree) -> None:
    """Write `tree` as the state at a place, then remove all but it and the one before.

    A state is one file in NumPy's npz format, whose entries are named after the leaves' paths. It appears under its
    final name only when it is whole, so that an interruption leaves those before.

    Args:
        directory: Holds one file per place.
        place: Later than those that are there.
        tree: A pytree of arrays and numbers on the host; device arrays that are donated later must be copied first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    older = [old for old in saved(directory) if old != place]
    write(directory / place.name, tree)
    for old in older[:-1]:
        (directory / old.name).unlink()


def restore(
    directory: pathlib.Path, like: chex.ArrayTree, *, optional: tuple[str, ...] = ()
) -> tuple[Place, Any] | None:
    """Return the last place saved and its tree, with structure, shapes and dtypes of `like`, or None.

    Damaged files are warned of and renamed, so that they count no longer, and the last whole one is taken.

    Args:
        directory: Holds one file per place.
        like: What is wanted.
        optional: As for `read`.

    Raises:
        ValueError: All files are damaged, or one is of another tree.
        OSError: A file cannot be opened.
    """
    damaged: dict[Place, Damaged] = {}
    for place in reversed(saved(directory)):
        path = directory / place.name
        try:
            found = read(path, like, optional=optional)
        except Damaged as error:
            damaged[place] = error
            continue
        for other, said in damaged.items():
            what = str(said).partition(";")[0]
            warnings.warn(f"{what}; the state before it, {path}, is taken.", stacklevel=2)
            (directory / other.name).replace(directory / (other.name + DAMAGED))
        return place, found
    for newest in damaged.values():
        raise newest
    return None


def write(path: pathlib.Path, tree: chex.ArrayTree) -> None:
    """Write a pytree of arrays and numbers on the host as one npz file, whose entries are named after its paths."""
    with write_whole(path) as file:
        np.savez(file, allow_pickle=False, **_by_path(tree))


def read(
    path: pathlib.Path,
    like: chex.ArrayTree,
    *,
    partly: bool = False,
    optional: tuple[str, ...] = (),
    advice: str = _ANEW,
) -> Any:
    """Return a tree that `write` has written, with structure, shapes and dtypes of `like`, which may be but shapes.

    Args:
        path: The file.
        like: What is wanted.
        partly: Whether the file may hold more.
        optional: Keys of `like`, a dict, of which the file may lack leaves, which are those of `like` then.
        advice: What to do with a file that is damaged or of another tree, for the message.

    Raises:
        ValueError: The file is damaged, or is of another tree.
        OSError: The file cannot be opened.
    """
    saved, wanted = _read(path, advice), _by_path(like)
    may_lack = tuple(f"[{key!r}]" for key in optional)
    saved |= {
        n: np.asarray(v) for n, v in wanted.items() if n.startswith(may_lack) and n not in saved
    }
    leaves = {name: _like(saved[name], leaf) for name, leaf in wanted.items() if name in saved}
    names = wanted if partly else {**wanted, **saved}
    if differing := [name for name in names if leaves.get(name) is None]:
        raise ValueError(
            f"{path} is a state of another kind, which differs in {', '.join(differing[:3])}; it must be one of the "
            f"same run and code, so {advice}."
        )
    return jax.tree.unflatten(jax.tree.structure(like), leaves.values())


def saved(directory: pathlib.Path) -> list[Place]:
    """Return the places that have been saved, in order."""
    if not directory.is_dir():
        return []
    names = (path.name for path in directory.iterdir() if path.is_file())
    return sorted(Place(*map(int, name.split("."))) for name in names if is_name(name))


def is_name(name: str) -> bool:
    """Return whether a file of this name is a saved state."""
    return re.fullmatch(r"[0-9]+(\.[0-9]+)?", name) is not None


def _read(path: pathlib.Path, advice: str) -> dict[str, np.ndarray]:
    try:
        return read_npz(path)
    except ValueError as error:
        raise Damaged(f"{error}; {advice}.") from None


def _by_path(tree: chex.ArrayTree) -> dict[str, Any]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _like(saved: np.ndarray, leaf: Any) -> Any:
    """Return what was saved as the kind of number or array that `leaf` is, or None where it is of another."""
    wanted = leaf if isinstance(leaf, jax.ShapeDtypeStruct) else np.asarray(leaf)
    # NumPy writes a type that is not its own, such as bfloat16, without its name.
    if saved.dtype.kind == "V" and saved.dtype.itemsize == wanted.dtype.itemsize:
        saved = saved.view(wanted.dtype)
    if (saved.shape, saved.dtype) != (wanted.shape, wanted.dtype):
        return None
    is_array = isinstance(leaf, np.ndarray | jax.Array | jax.ShapeDtypeStruct)
    return saved if is_array else saved.item()
