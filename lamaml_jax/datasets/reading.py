"""Reads what strangers have packed: never more than was asked for, and any failure becomes one sentence."""

import collections
import contextlib
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from lamaml_jax.datasets.image_dataset import DatasetError


@contextlib.contextmanager
def expecting(path: Path, what: str) -> Iterator[None]:
    """Turn any failure to read a file, which has many types, into a DatasetError.

    Args:
        path: the file.
        what: what was expected of it, such as "a complete zip file".

    Raises:
        DatasetError: naming the file and what was expected, if the block fails.
    """
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DatasetError(f"{path}: expected {what}, found: {reason}") from error


def read_at_most(file: IO[bytes] | gzip.GzipFile, most: int, declared: int | None = None) -> bytes:
    """Read a file to its end, which may be packed to a thousandth of what it unpacks to.

    Args:
        file: opened for reading.
        most: bytes that it may have.
        declared: bytes that it claims to have, where it does; the truth may be another.

    Raises:
        ValueError: if it claims more than `most` bytes, before it is unpacked, or turns out to have more.
    """
    claimed = most if declared is None else declared
    content = file.read(claimed + 1) if claimed <= most else b""
    if max(claimed, len(content)) > most:
        raise ValueError(f"more than {most} bytes")
    return content


def check_once(names: Iterable[str]) -> None:
    """Check that no name stands twice in an archive, where it would depend on the reader which one counts.

    Raises:
        ValueError: if one does.
    """
    name, count = max(collections.Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise ValueError(f"{count} members of the name {name}")
