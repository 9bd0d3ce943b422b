"""Decoded arrays in one file beside the prepared data that they were decoded from."""

import contextlib
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamaml_jax.files import read_npz

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def read(
    path: Path, counts: Sequence[int], num_bytes: Sequence[int]
) -> dict[str, npt.NDArray[Any]] | None:
    """Return the cached arrays, or None if there is no intact cache of this prepared data.

    Args:
        path: the cache file, which need not exist.
        counts: number of examples in the prepared train and test split.
        num_bytes: size of the prepared train and test split.

    Returns:
        The arrays as they were written, or None.
    """
    try:
        arrays = read_npz(path)
        same_bytes = arrays.pop("num_bytes").tolist() == list(num_bytes)
    except Exception:  # Whatever is wrong with a cache, the cure is to write it anew.
        return None
    lengths = [len(arrays[name]) if name in arrays else None for name in _ARRAYS]
    same_counts = lengths == [count for count in counts for _ in ("images", "labels")]
    return arrays if same_bytes and same_counts else None


def write(path: Path, arrays: dict[str, npt.NDArray[Any]], num_bytes: Sequence[int]) -> None:
    """Write the cache at once or not at all; in a read-only folder, not at all.

    Args:
        path: the cache file, replaced if it exists.
        arrays: images and labels of the train and test split, and what else belongs to them.
        num_bytes: size of the prepared train and test split.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        try:
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, num_bytes=np.asarray(num_bytes), **arrays)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
