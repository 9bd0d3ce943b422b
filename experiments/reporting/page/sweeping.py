"""The section of sweeps."""

from collections.abc import Iterator

import numpy as np

from experiments.reporting import sweep_pictures
from experiments.reporting.page.blocks import (
    Block,
    Cell,
    Group,
    Section,
    anchor,
    number,
    picture,
    table,
    word,
)
from experiments.reporting.page.reading import Found, SweepFound
from experiments.reporting.summary import seeds_in_words, spread
from experiments.sweeps import grid


def sweeps(found: Found) -> Section | None:
    """Return a picture and a ranking of each sweep."""
    if not found.sweeps:
        return None
    names = [anchor("sweep", str(i + 1), sweep.label) for i, sweep in enumerate(found.sweeps)]
    groups: list[Block] = [
        Group(sweep.label, list(_show(name, sweep)))
        for name, sweep in zip(names, found.sweeps, strict=True)
    ]
    return Section("sweeps", "Sweeps", groups)


def _show(name: str, found: SweepFound) -> Iterator[Block]:
    sweep = found.sweep
    axes = [axis.name for axis in sweep.axes]
    # A user's benchmark may have test data alone; earlier versions did not write what a swept stream has in common.
    split = found.settings.get("stream", {"eval_split": "its own"}).get("eval_split", "test")
    best = sweep.ranking()[0]
    gone = np.atleast_1d(sweep.diverged.any(axis=1))
    chosen = (
        " ".join(sweep.assignments(best)) if not gone[best] else "none, as a seed diverged at each"
    )
    seeds = seeds_in_words(len(sweep.seeds))
    yield picture(
        sweep_pictures.plot(sweep, "", narrow=True),
        name,
        f"RA over {', '.join(axes)}",
        f"{found.label}: RA in percent on {split} data over {len(sweep.points)} points with {seeds} "
        f"each; the best point is {chosen}; at {gone.sum()} points a seed diverged. The table has all numbers.",
        ("point", *axes, "seed", "RA", "diverged"),
        (
            (p, *point, seed, float(sweep.values["ra"][p, s]), bool(sweep.diverged[p, s]))
            for p, point in enumerate(sweep.points)
            for s, seed in enumerate(sweep.seeds)
        ),
    )
    yield table(
        f"{name}-ranking",
        f"The points by their mean RA on {split} data, in percent, mean ± standard deviation over {seeds}; "
        "those at which a seed diverged come last.",
        (*axes, "RA", "LA", "BTI", "diverged seeds"),
        (_row(sweep_point, found) for sweep_point in sweep.ranking()),
    )


def _row(point: int, found: SweepFound) -> list[Cell]:
    sweep = found.sweep
    diverged = [seed for seed, gone in zip(sweep.seeds, sweep.diverged[point], strict=True) if gone]
    measured = (sweep.values[name][point] for name in ("ra", "la", "bti"))
    return [
        *(_setting(value) for value in sweep.points[point]),
        *(number(of_seeds.mean(), std=spread(of_seeds)) for of_seeds in measured),
        Cell(", ".join(map(str, diverged)) or "–", len(diverged)),
    ]


def _setting(value: str) -> Cell:
    """Return a cell that sorts as a number where the setting is one."""
    found = grid.number(value)
    return word(value) if found is None else Cell(value, found)
