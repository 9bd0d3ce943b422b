"""The section of the page with configuration and environment of all runs."""

from collections.abc import Iterator
from typing import Any

from experiments.reporting.page.blocks import Block, Group, Section, anchor, table, word
from experiments.reporting.page.reading import Found


def settings(found: Found) -> Section | None:
    """Return configuration and environment of all runs: first where they differ, then each in full."""
    runs = found.runs
    if not runs:
        return None
    flat = {run.label: dict(_flat(run.description)) for run in runs}
    names = list(dict.fromkeys(name for values in flat.values() for name in values))
    differing = [name for name in names if len({v.get(name, "–") for v in flat.values()}) > 1]
    blocks: list[Block] = []
    if differing:
        rows = [
            [word(name), *(word(flat[run.label].get(name, "–")) for run in runs)]
            for name in differing
        ]
        columns = ("setting", *(run.label for run in runs))
        differences = table("differences", "What differs between the runs.", columns, rows)
        blocks.append(Group("Where the runs differ", [differences], collapsed=True))
    for run in runs:
        rows = [[word(name), word(value)] for name, value in flat[run.label].items()]
        whole = table(
            anchor("settings", run.label),
            f"{run.label}: all that determines its results, in {run.folder}.",
            ("setting", "value"),
            rows,
        )
        blocks.append(Group(run.label, [whole], collapsed=True))
    return Section("settings", "Configuration and environment", blocks)


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else key)
    else:
        yield name, str(values)
