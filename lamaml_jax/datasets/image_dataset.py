"""What every dataset of this package looks like, and how two of them are compared.

Dimensions: N images, H height, W width, C colour channels.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class ImageDataset(NamedTuple):
    """A dataset of labelled images, whole and in memory.

    Attributes:
        name: name of the dataset, e.g. "mnist".
        train_images: uint8 `[N, H, W, C]`, 0 to 255.
        train_labels: int32 `[N]`, from 0.
        test_images: uint8 `[N, H, W, C]`, 0 to 255.
        test_labels: int32 `[N]`, from 0.
        source: one phrase saying where the arrays came from.
        superclasses: int32, the superclass of each class, where the dataset has them.
    """

    name: str
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int32]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int32]
    source: str
    superclasses: npt.NDArray[np.int32] | None = None


class DatasetError(RuntimeError):
    """The data asked for cannot be had; the message is one sentence saying why and what to do."""


def checksum(dataset: ImageDataset) -> str:
    """Return a fingerprint of the four arrays.

    Args:
        dataset: the dataset; its name, source and superclasses do not count.

    Returns:
        SHA-256 over shape, dtype and bytes of the arrays, as 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for array in (
        dataset.train_images,
        dataset.train_labels,
        dataset.test_images,
        dataset.test_labels,
    ):
        digest.update(f"{array.shape} {array.dtype.str} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
