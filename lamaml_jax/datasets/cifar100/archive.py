"""CIFAR-100's archive for Python, read without running what a pickle may ask for.

Nothing is unpacked to disk, so that no member can be written anywhere. Dimensions: N images, H height, W width.
"""

import gzip
import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamaml_jax.datasets.image_dataset import DatasetError

SIDE = 32
_FOLDER = "cifar-100-python"
_NAMES = ("train", "test")
# What a pickled array of bytes is made of, under the names of numpy 1 and 2; `_codecs.encode` makes bytes of a string.
_ADMITTED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


class Split(NamedTuple):
    """Images uint8 `[N, H, W, 3]`, labels `[N]` in [0, 100) and superclasses `[N]` in [0, 20)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    superclasses: npt.NDArray[np.int64]


def read_splits(path: Path) -> dict[str, Split]:
    """Read the "train" and "test" split.

    Args:
        path: cifar-100-python.tar.gz.

    Raises:
        DatasetError: naming the file and what was expected, if it is truncated or corrupt, or its
            pickles hold anything but arrays and lists.
    """
    try:
        with gzip.open(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            contents = {name: _content(path, archive, name) for name in _NAMES}
            # Only at its end is the checksum compared, and a tar file may end before.
            while file.read(2**20):
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DatasetError(
            f"{path}: expected a complete gzipped tar file, found: {error}"
        ) from error
    return {name: _split(path, name, content) for name, content in contents.items()}


def _content(path: Path, archive: tarfile.TarFile, name: str) -> bytes:
    member = f"{_FOLDER}/{name}"
    try:
        file = archive.extractfile(member)
    except KeyError:
        file = None
    if file is None:
        raise DatasetError(f"{path}: expected a file {member}, found {archive.getnames()[:5]}")
    return file.read()


def _split(path: Path, name: str, content: bytes) -> Split:
    try:
        # Python 2 wrote the original, whose keys are bytes.
        values = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # An unpickler may fail in any way.
        raise DatasetError(
            f"{path}: expected {name} to be a pickle of arrays and lists alone, found: {error}"
        ) from error
    where = f"{path}: expected {name} to hold"
    keys = (b"data", b"fine_labels", b"coarse_labels")
    try:
        data, labels, superclasses = (np.asarray(values[key]) for key in keys)
    except (LookupError, TypeError, ValueError):  # no dict, a key missing, lists of unequal lengths
        raise DatasetError(
            f"{where} a dict of arrays data, fine_labels and coarse_labels"
        ) from None
    is_one_per_label = data.shape == (labels.size, 3 * SIDE**2) and labels.ndim == 1
    if data.dtype != np.uint8 or not is_one_per_label or not labels.size:
        raise DatasetError(
            f"{where} images of {3 * SIDE**2} bytes, one per label, found {data.dtype} of shape {data.shape} "
            f"and labels of shape {labels.shape}"
        )
    for what, found, count in (("labels", labels, 100), ("superclasses", superclasses, 20)):
        is_integer = found.shape == labels.shape and found.dtype.kind in "iu"
        if not is_integer or found.min() < 0 or found.max() >= count:
            raise DatasetError(f"{where} {len(labels)} {what} from 0 to {count - 1}")
    images = data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), labels, superclasses)


class _Unpickler(pickle.Unpickler):
    """Finds only what an array is rebuilt from."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name}, which no array needs")
        return super().find_class(module, name)
