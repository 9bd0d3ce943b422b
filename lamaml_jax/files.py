"""Files that appear under their name whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

PARTIAL = ".partial"
"""What the name of a file ends with until it is whole; an interruption may leave one."""


@contextlib.contextmanager
def write_whole(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` at the end of the block, and not after an error."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power cut might leave the new name with no content
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
