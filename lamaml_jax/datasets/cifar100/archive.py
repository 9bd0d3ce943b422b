"""CIFAR-100's archive for Python, read without running what a pickle may ask for.

Nothing is unpacked to disk, so that no member can be written anywhere. Dimensions: N images, H height, W width.
"""

import gzip
import io
import pickle
import pickletools
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lamaml_jax.datasets.image_dataset import DatasetError
from lamaml_jax.datasets.reading import check_once, expecting, read_at_most

SIDE = 32
_FOLDER = "cifar-100-python"
_NAMES = ("train", "test")
_MOST_IMAGES = 50_000  # per split
# A pickle may write a byte of an image as two, and takes a few steps for the name and the labels of each.
_MOST_BYTES = 2 * 3 * SIDE**2 * _MOST_IMAGES
_MOST_STEPS = 20 * _MOST_IMAGES
_MOST_IN_TUPLE = 10


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
    with (
        expecting(path, "a complete gzipped tar file"),
        gzip.open(path) as file,
        tarfile.open(fileobj=file, mode="r:") as archive,
    ):
        check_once(archive.getnames())
        contents = {name: _content(path, archive, name) for name in _NAMES}
        # Only at its end is the checksum compared, and a tar file may end before.
        while file.read(2**20):
            pass
    return {name: _split(path, name, content) for name, content in contents.items()}


def _content(path: Path, archive: tarfile.TarFile, name: str) -> bytes:
    members = {member.name: member for member in archive}
    member = members.get(f"{_FOLDER}/{name}")
    # Nothing is looked for where a link points to: not in circles, not outside, not at all.
    if member is None or not member.isreg() or member.issparse():
        found = "a member of another kind" if member else list(members)[:5]
        raise DatasetError(f"{path}: expected a file {_FOLDER}/{name}, found {found}")
    file = archive.extractfile(member)
    assert file is not None  # since it is a file
    with expecting(path, f"{name} to be of CIFAR-100's size"):
        return read_at_most(file, _MOST_BYTES, member.size)


def _split(path: Path, name: str, content: bytes) -> Split:
    with expecting(path, f"{name} to be a pickle of arrays and lists alone"):
        _check_steps(content)
        # Python 2 wrote the original, whose keys are bytes.
        values = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    where = f"{path}: expected {name} to hold"
    try:
        data = _values(values[b"data"])
        labels, superclasses = (_labels(values[key]) for key in (b"fine_labels", b"coarse_labels"))
    except (
        LookupError,
        TypeError,
        ValueError,
        OverflowError,
    ):  # no dict, a key missing, a list of lists
        raise DatasetError(
            f"{where} a dict of arrays data, fine_labels and coarse_labels, the labels also as flat lists of at most "
            f"{_MOST_IMAGES} integers"
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


def _values(found: Any) -> npt.NDArray[Any]:
    if not isinstance(found, _Array):
        raise TypeError("no array")
    return found.values


def _labels(found: Any) -> npt.NDArray[Any]:
    """Return an array, or a flat list of numbers as one; a list of lists may be larger than any memory."""
    if type(found) is not list:
        return _values(found)
    if len(found) > _MOST_IMAGES or any(type(label) is not int for label in found):
        raise TypeError("no list of labels")
    return np.asarray(found, np.int64)


def _check_steps(content: bytes) -> None:
    """Check that a pickle makes a modest number of objects, as each of its bytes can make one of a hundred."""
    for count, (step, argument, _) in enumerate(pickletools.genops(content)):
        # Python reserves room for as many remembered objects as the index of one says.
        index = (argument or 0) if step.name in ("PUT", "LONG_BINPUT") else 0
        if max(count, index) > _MOST_STEPS:
            raise ValueError(f"more than {_MOST_STEPS} steps")


class _Kind:
    """A dtype as a pickle describes it; NumPy's own trusts what it is told, and takes the process down."""

    def __init__(self, name: str, *whatever: object) -> None:
        if not re.fullmatch("[biuf][1248]", name):
            raise pickle.UnpicklingError(f"an array of {name!r:.20}")
        self.name = name

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.name = f">{self.name}"


class _Array:
    """An array as a pickle describes it, of which only what it holds counts, and not how large it asks to be."""

    values: npt.NDArray[Any] = np.empty(0, np.uint8)

    def __init__(self, *whatever: object) -> None:
        pass  # how large an array it asks for

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, content = state
        if not (isinstance(kind, _Kind) and isinstance(content, bytes)):
            raise pickle.UnpicklingError("an array of anything but numbers")
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        self.values = np.frombuffer(content, kind.name).reshape(shape, order=order)


def _latin(text: str, encoding: str) -> bytes:
    """Return the bytes that newer versions of Python write as a text into a pickle for older ones."""
    if type(encoding) is not str or encoding != "latin1":
        raise pickle.UnpicklingError("a text in another encoding than latin1")
    return text.encode("latin1")


# What a pickled array of numbers is made of, under the names of numpy 1 and 2.
_ADMITTED = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _latin,
}


def _shallow(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Refuse tuples unlike those that describe an array: hashing nested ones may never end, or end the process."""

    def checked(unpickler: Any) -> None:
        load(unpickler)
        made = unpickler.stack[-1]
        inner = [item for values in made if type(values) is tuple for item in values]
        if len(made) > _MOST_IN_TUPLE or any(type(item) is tuple for item in inner):
            raise pickle.UnpicklingError("a tuple that describes no array")

    return checked


class _Unpickler(pickle._Unpickler):
    """Finds only what an array is rebuilt from; the one in Python, as what the one in C makes cannot be looked at."""

    _TUPLES = (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)
    dispatch = pickle._Unpickler.dispatch | {
        step[0]: _shallow(pickle._Unpickler.dispatch[step[0]]) for step in _TUPLES
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name}, which no array needs")
        return _ADMITTED[module, name]
