"""What a section of the page is made of; the template page.html shows each kind."""

import base64
import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from markupsafe import Markup
from matplotlib.figure import Figure

from experiments.reporting.page import svg


class Cell(NamedTuple):
    """One cell of a table.

    Attributes:
        text: As it is shown.
        value: What the table is sorted by; None for nothing, which comes last.
        std: Its standard deviation, if it has one.
    """

    text: str
    value: float | str | None
    std: float | None = None


class Table(NamedTuple):
    """A table that readers can sort by any of its columns; the first is what a row is about.

    Attributes:
        name: Of the file in which readers can have it.
        caption: What it shows.
        columns: Their headings.
        rows: As many cells each.
        csv: The same as a data URI.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    csv: str
    kind: str = "table"


class Picture(NamedTuple):
    """A figure, which readers can have as PNG and its data as CSV.

    Attributes:
        name: Unlike all others on the page; of its files.
        title: What it shows.
        description: What is to be seen, for those who do not see it.
        svg: The figure.
        width: Its width in points.
        csv: Its data as a data URI.
    """

    name: str
    title: str
    description: str
    svg: Markup
    width: float
    csv: str
    kind: str = "picture"


class Layer(NamedTuple):
    """A layer's rates under the microscope.

    Attributes:
        name: The layer's.
        explanation: How the picture is laid out.
        images: Data URIs, one after each number of tasks, beginning with none.
        alternatives: What each shows, in words.
        size: Width and height in pixels.
        limit: The rate of the strongest colours.
    """

    name: str
    explanation: str
    images: list[str]
    alternatives: list[str]
    size: tuple[int, int]
    limit: str


class Microscope(NamedTuple):
    """Pictures of all layers' rates with a slider over tasks.

    Attributes:
        name: Unlike all others on the page.
        title: Whose rates.
        layers: All of as many images.
        csv: A data URI of each layer's mean, share at or below zero and quantiles after each task.
    """

    name: str
    title: str
    layers: list[Layer]
    csv: str
    kind: str = "microscope"


class Text(NamedTuple):
    """A paragraph; what is `code` stands below it."""

    text: str
    code: str = ""
    kind: str = "text"


class Group(NamedTuple):
    """Blocks under a heading, which are hidden until asked for where `collapsed`."""

    title: str
    blocks: "list[Block]"
    collapsed: bool = False
    kind: str = "group"


Block: TypeAlias = Table | Picture | Microscope | Text | Group


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        name: Of its anchor.
        title: Its heading.
        blocks: What it shows.
    """

    name: str
    title: str
    blocks: list[Block]


def table(name: str, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a table; its file has the values as they are, and each standard deviation in a column of its own."""
    cells = [list(row) for row in rows]
    columns = tuple(columns)
    spread = [any(row[i].std is not None for row in cells) for i in range(len(columns))]
    names = [
        name
        for column, has_std in zip(columns, spread, strict=True)
        for name in ([column, f"{column} std"] if has_std else [column])
    ]
    values = [
        [
            value
            for cell, has_std in zip(row, spread, strict=True)
            for value in ([cell.value, cell.std] if has_std else [cell.value])
        ]
        for row in cells
    ]
    return Table(name, caption, columns, cells, csv_uri(names, values))


def picture(
    figure: Figure,
    name: str,
    title: str,
    description: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> Picture:
    """Return a figure, with its data as rows under the names of columns."""
    element = svg.inline(figure, name, title, description)
    width = 72 * figure.get_figwidth()
    return Picture(name, title, description, element, width, csv_uri(columns, rows))


def number(value: float | None, digits: int = 2, *, std: float | None = None) -> Cell:
    """Return a cell of a number, or of a mean ± standard deviation if it has one; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return Cell("–", None)
    text = f"{value:.{digits}f}"
    if std is not None and math.isfinite(std):
        text += f" ± {std:.{digits}f}"
    else:
        std = None
    return Cell(text.replace("-", "−"), float(value), std)


def word(text: Any) -> Cell:
    """Return a cell of words."""
    return Cell(str(text), str(text))


def anchor(*parts: str) -> str:
    """Return a name for anchors and files from any text."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def csv_uri(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as a data URI; NaN and None are empty cells."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow("" if _is_nothing(value) else value for value in row)
    return "data:text/csv;base64," + base64.b64encode(file.getvalue().encode()).decode()


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
