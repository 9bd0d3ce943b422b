"""What the script of the tables prints: a list of what there is and what is missing, and the tables of results."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from experiments import collect
from experiments.collect import Row
from experiments.reporting.summary import (
    in_words,
    is_alone,
    of_images,
    paper_values,
    seeds_in_words,
    title_of,
)
from experiments.reporting.tables import markdown
from experiments.runs import catalogue, descriptions, finished, workdirs
from experiments.tabling.cells import Cell
from experiments.tabling.expected import Expected

_VALUES = ("ra_mean", "ra_std", "la_mean", "la_std", "bti_mean", "bti_std")


def listed(
    done: Sequence[Cell],
    ahead: Sequence[tuple[Cell, Expected]],
    rows: Mapping[collect.Key, Row],
    minutes: float | None,
) -> str:
    """Return a list of cells, those that are done first.

    Args:
        done: What is measured.
        ahead: What is not, in the order in which it runs, with what is expected.
        rows: Of the committed results.
        minutes: All that there are; None for any number.
    """
    table = [["run", "state", "time", "known from"]]
    for cell in done:
        row = cell.row(rows)
        took = f"took {row['minutes']} minutes" if row and row["minutes"] else "–"
        table.append(
            [cell.label(), f"done, {seeds_in_words(_values(cell, rows)['num_seeds'])}", took, ""]
        )
    spent, unknown = 0.0, 0
    for cell, expected in ahead:
        fits = expected.fits(spent, minutes)
        state = _state(cell) if fits else f"{_state(cell)}, left out by --minutes={minutes:g}"
        spent += expected.minutes or 0.0 if fits else 0.0
        unknown += fits and expected.minutes is None
        table.append([cell.label(), state, expected.in_words(), expected.source])
    lines = [markdown(table), f"{len(done)} of {len(done) + len(ahead)} are done."]
    if ahead:
        besides = f", besides {unknown} of which that is not known" if unknown else ""
        lines.append(f"What runs takes about {spent:.0f} minutes{besides}.")
    return "\n".join(lines)


def results(
    cells: Sequence[Cell], rows: Mapping[collect.Key, Row], refused: Collection[str] = ()
) -> str:
    """Return a table for each benchmark and protocol, with the paper's values beside those measured.

    Args:
        cells: In the order of the paper.
        rows: Of the committed results.
        refused: Labels of cells whose folders hold something else, which is not shown.
    """
    texts = []
    for of in dict.fromkeys((cell.name.benchmark, cell.name.protocol) for cell in cells):
        members = [cell for cell in cells if cell.name[:2] == of]
        values = [{} if c.label() in refused else _values(c, rows) for c in members]
        own = [of_run for of_run in values if "data" in of_run]  # not from the committed results
        title = f"{catalogue.short(of[0])}, {of[1]} pass"
        texts += [title, markdown(_table(members, values)), *of_images(own)]
    return "\n\n".join(texts)


def diverged(cells: Sequence[Cell], rows: Mapping[collect.Key, Row]) -> list[str]:
    """Return the cells of which seeds diverged, and which."""
    found = [(cell.label(), _values(cell, rows).get("diverged_seeds")) for cell in cells]
    return [f"{label} (seed {', '.join(map(str, seeds))})" for label, seeds in found if seeds]


def _table(cells: Sequence[Cell], known: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the rows of cells, of each of which something or nothing is known."""
    table = [["learner", "seeds", "RA", "LA", "BTI", "paper's RA", "paper's BTI", "RA, difference"]]
    for cell, values in zip(cells, known, strict=True):
        paper: Mapping[str, Any] = paper_values(
            {**cell.name._asdict(), "standard_stream": cell.config.is_standard_stream()}
        )
        seeds = str(values["num_seeds"]) if values else "–"
        texts = [_cell(of, name) for of, name in _columns(values, paper)]
        ours, theirs = values.get("ra_mean"), paper.get("ra_mean")
        differs = "–" if ours is None or theirs is None else f"{ours - theirs:+.2f}"
        table.append([title_of(cell.name.learner), seeds, *texts, differs])
    return table


def _columns(ours: Mapping[str, Any], paper: Mapping[str, Any]) -> list[tuple[Any, str]]:
    return [(ours, "ra"), (ours, "la"), (ours, "bti"), (paper, "ra"), (paper, "bti")]


def _values(cell: Cell, rows: Mapping[collect.Key, Row]) -> Mapping[str, Any]:
    """Return what is known of a cell: the committed results, or its own where these are of fewer seeds."""
    row = cell.row(rows)
    if row is not None and (cell.is_measured(rows) or cell.ahead()):
        numbers = {name: float(row[name]) if row[name] else None for name in _VALUES}
        diverging = [int(seed) for seed in row["diverged_seeds"].split()]
        return {**numbers, "num_seeds": int(row["num_seeds"]), "diverged_seeds": diverging}
    if cell.ahead():
        return {}
    return finished.joined([folder for _, folder in cell.parts])[1]


def _cell(values: Mapping[str, Any], name: str) -> str:
    mean, std = values.get(f"{name}_mean"), values.get(f"{name}_std")
    return in_words(mean, None if is_alone(values) else std)


def _state(cell: Cell) -> str:
    """Return how far the runs of a cell are."""
    begun = [part for part in cell.ahead() if descriptions.whole(part[1])]
    if begun:
        ((config, folder), *_) = begun
        return f"begun, {workdirs.place(folder).stage} of {config.stream['num_tasks']} tasks"
    if len(cell.ahead()) < len(cell.parts):
        return "seeds " + ", ".join(str(s) for of, _ in cell.ahead() for s in of.seeds) + " missing"
    return "missing"
