"""Small datasets of images of noise as MNIST's four IDX files."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamaml_jax.datasets import ImageDataset
from lamaml_jax.datasets.mnist import Builder

NAMES = Builder.ARCHIVES.names


def noise(name: str, seed: int = 0) -> ImageDataset:
    """Return 30 training and 20 test images in ten classes."""
    rng = np.random.default_rng(seed)
    return ImageDataset(
        name=name,
        train_images=rng.integers(0, 256, (30, 28, 28, 1), np.uint8),
        train_labels=rng.permutation(np.arange(30, dtype=np.int32) % 10),
        test_images=rng.integers(0, 256, (20, 28, 28, 1), np.uint8),
        test_labels=rng.permutation(np.arange(20, dtype=np.int32) % 10),
        source="made up",
    )


def write_archives(folder: Path, dataset: ImageDataset, suffix: str) -> None:
    """Write a dataset's files, gzipped where the suffix is not empty, into a new folder."""
    folder.mkdir(parents=True)
    arrays: Any = dataset[1:5]
    for name, array in zip(NAMES, arrays, strict=True):
        content = idx(array.reshape(array.shape[:3]))
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)


def idx(array: npt.NDArray[Any]) -> bytes:
    """Return an array as the bytes of an IDX file."""
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()
