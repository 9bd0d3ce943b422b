"""The section of the paper's analyses, whichever they are."""

import re
from collections.abc import Iterator

from experiments.reporting.page.blocks import (
    Block,
    Cell,
    Group,
    Section,
    Text,
    anchor,
    picture,
    table,
    word,
)
from experiments.reporting.page.reading import AnalysisFound, Found
from experiments.reporting.summary import seeds_in_words

_NUMBER = re.compile(r"(-?[\d.]+(?:e[-+]\d+)?)(?: ± ([\d.]+(?:e[-+]\d+)?))?")
_POWER = re.compile(r"(\d+)\^(-?\d+)")


def analyses(found: Found) -> Section | None:
    """Return the pictures, tables and remarks of each analysis."""
    if not found.analyses:
        return None
    groups: list[Block] = [
        Group(analysis.label, list(_show(anchor("analysis", str(i + 1)), analysis)))
        for i, analysis in enumerate(found.analyses)
    ]
    return Section("analyses", "Analyses", groups)


def _show(name: str, analysis: AnalysisFound) -> Iterator[Block]:
    seeds = seeds_in_words(len(analysis.about.seeds))
    for part in analysis.parts:
        remarks = "".join(f" {remark}" for remark in part.remarks)
        yield picture(
            part.plot("", narrow=True),
            anchor(name, part.name),
            part.title,
            f"{analysis.label}, {seeds}. {part.caption}{remarks} The table has the numbers.",
            part.columns,
            part.rows,
        )
    for part in analysis.parts:
        columns, *rows = part.table
        yield table(
            anchor(name, part.name, "table"),
            f"{part.title}, {seeds}. {part.caption}",
            columns,
            ([_cell(text) for text in row] for row in rows),
        )
        for remark in part.remarks:
            yield Text(remark)


def _cell(text: str) -> Cell:
    """Return a cell that sorts as a number, or a mean with its spread, where the text is one."""
    plain = text.replace(",", "")
    if match := _NUMBER.fullmatch(plain):
        mean, std = match.groups()
        shown = re.sub("^-", "−", text)
        return Cell(shown, float(mean), None if std is None else float(std))
    if match := _POWER.fullmatch(text):
        return Cell(text, float(match[1]) ** int(match[2]))
    return Cell(text, None) if text == "–" else word(text)
