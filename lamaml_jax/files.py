"""Files that appear under their name whole or not at all, and are read back as they were written or not at all."""

import contextlib
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

PARTIAL = ".partial"
"""What the name of a file ends with until it is whole; an interruption may leave one."""

_MOST_UNPACKED = 100  # times the file's size; images are packed to a half, a state not at all
_ALWAYS_UNPACKED = 2**28  # bytes that a file of any size may unpack to
_COUNT_FROM_END = -12  # of the number of entries in the record that ends a zip file


@contextlib.contextmanager
def write_whole(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` at the end of the block, and not after an error.

    Raises:
        OSError: The file cannot be written, as on a full disk; what was under its name stays.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power cut might leave the new name with no content
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise OSError(
                f"{path} cannot be written ({reason}); what was kept before it is left as it was."
            ) from error
        raise


def read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file in NumPy's npz format by name, none of them unpickled.

    What `numpy.load` lets pass is damage here: an array whose header says that it is shorter, of which it compares no
    checksum, and one that is no longer listed. So is a file that would unpack to more than 256 MiB and more than a
    hundred times its size, or is packed in a way that NumPy does not write: nothing of it is unpacked.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is damaged.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_sizes(archive.infolist(), os.fstat(file.fileno()).st_size)
                arrays = {name: _read_array(archive, name) for name in archive.namelist()}
            file.seek(_COUNT_FROM_END, os.SEEK_END)
            if len(arrays) != int.from_bytes(file.read(2), "little"):
                raise ValueError("another number of arrays than it says")
        except Exception as error:  # what reads the file fails on damage with errors of any kind
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"{path} is damaged ({reason})") from error
    return {name.removesuffix(".npy"): array for name, array in arrays.items()}


def _check_sizes(members: list[zipfile.ZipInfo], size: int) -> None:
    """Check what a file of so many bytes says that it unpacks to; no more is read of a member than it says."""
    if any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members):
        raise ValueError("packed as NumPy does not")
    most = max(_ALWAYS_UNPACKED, _MOST_UNPACKED * size)
    if sum(member.file_size for member in members) > most:
        raise ValueError(f"{size} bytes that unpack to more than {most}")


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # The checksum is compared at the end.
            raise ValueError(f"{name} is longer than it says")
    return array
