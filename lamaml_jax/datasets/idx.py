"""Files in the IDX format of MNIST, gzipped or not, checked before anything is made of them.

Dimensions: N images, H height, W width.
"""

import gzip
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lamaml_jax.datasets.image_dataset import DatasetError
from lamaml_jax.datasets.reading import expecting, read_at_most

_GZIP_MAGIC = b"\x1f\x8b"
_MOST_BYTES = 16 + 60_000 * 28**2  # MNIST's largest file, unzipped


def read_pair(
    images_path: Path, labels_path: Path, *, size: int = 28, num_classes: int = 10
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read images and their labels.

    Args:
        images_path: IDX file of images, plain or gzipped.
        labels_path: IDX file of labels, plain or gzipped.
        size: height and width that the images must have.
        num_classes: one more than the largest label allowed.

    Returns:
        Images `[N, size, size]` and labels `[N]`, N at least 1, read-only.

    Raises:
        DatasetError: naming the file and what was expected, if either is truncated or corrupt, or
            they do not belong together.
    """
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape[1:] != (size, size):
        height, width = images.shape[1:]
        raise DatasetError(
            f"{images_path}: expected images of {size}x{size}, found {height}x{width}"
        )
    if len(images) != len(labels):
        raise DatasetError(
            f"{labels_path}: expected {len(images)} labels, as many as images in "
            f"{images_path.name}, found {len(labels)}"
        )
    if labels.max() >= num_classes:
        raise DatasetError(
            f"{labels_path}: expected labels from 0 to {num_classes - 1}, found {labels.max()}"
        )
    return images, labels


def read_idx(path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    """Read one IDX file of bytes.

    Args:
        path: the file, plain or gzipped, whatever its name.
        ndim: number of dimensions that it must have, 3 for images and 1 for labels.

    Returns:
        A read-only uint8 array of `ndim` dimensions, none of them empty.

    Raises:
        DatasetError: naming the file and what was expected, if it is truncated or corrupt.
    """
    content = _unzipped(path)
    header = 4 * (1 + ndim)
    if len(content) < header:
        raise DatasetError(f"{path}: expected at least {header} bytes, found {len(content)}")
    magic, *shape = np.frombuffer(content, ">u4", 1 + ndim).tolist()
    if magic != 0x800 + ndim:  # 8 means unsigned bytes
        raise DatasetError(f"{path}: expected the magic number {0x800 + ndim}, found {magic}")
    if 0 in shape:
        raise DatasetError(f"{path}: expected at least one example, found the shape {shape}")
    if len(content) != header + math.prod(shape):
        raise DatasetError(
            f"{path}: expected {header + math.prod(shape)} bytes, found {len(content)}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _unzipped(path: Path) -> bytes:
    with path.open("rb") as file:
        is_gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    what = "a complete gzip file" if is_gzip else "a complete file"
    with expecting(path, what), (gzip.open if is_gzip else open)(path, "rb") as file:
        return read_at_most(file, _MOST_BYTES)
