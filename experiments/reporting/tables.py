"""Tables of texts, the headings first: as Markdown for readers, as CSV for the pages that show them."""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import TypeAlias

from lamaml_jax.files import write_whole

Table: TypeAlias = Sequence[Sequence[str]]


def markdown(table: Table) -> str:
    """Return a table in Markdown."""
    first, *rest = (f"| {' | '.join(cells)} |" for cells in table)
    return "\n".join([first, f"|{' --- |' * len(table[0])}", *rest])


def write(path: pathlib.Path, table: Table) -> None:
    """Write a table as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    with write_whole(path) as file:
        file.write(text.getvalue().encode())
