"""How far retained accuracy depends on the learning rates (Appendix E, Figures 5 and 6).

Dimensions: P points, S seeds.
"""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from experiments.analyses.folder import About, Part
from experiments.reporting import sweep_figures
from experiments.reporting.summary import in_words, spread, title_of
from experiments.runs.config import Config
from experiments.sweeps.grid import Axis, Point
from experiments.sweeps.results import Sweep, load

RATES = {
    "c_maml": {"inner_lr": "α", "outer_lr": "β"},
    "sync_la_maml": {"lr_init": "α₀", "lr_lr": "η", "outer_lr": "β"},
    "la_maml": {"lr_init": "α₀", "lr_lr": "η"},
}
"""The rates that the paper varies, by learner, with the paper's letters."""

GRIDS = {"c_maml": ("inner_lr", "outer_lr"), "la_maml": ("lr_init", "lr_lr")}
"""The pairs of which the paper draws grids."""

RANGE = (0.001, 0.3)
"""The paper's."""


def rates_around(preset: Config, num_values: int, grid_size: int) -> tuple[list[Axis], list[Point]]:
    """Return the points of a learner: every rate on its own, the others at the preset, and the grid of the paper.

    Args:
        preset: Of the learner.
        num_values: Of each rate on its own, log-spaced over the paper's range; the preset's comes beside them.
        grid_size: Values of each rate in the grid; 0 leaves it out.
    """
    names = list(RATES[preset.learner])
    middle = tuple(f"{preset.keywords[name]:.6g}" for name in names)
    spaced = _spaced(num_values)
    points = [middle]
    for i in range(len(names)):
        points += [(*middle[:i], value, *middle[i + 1 :]) for value in spaced]
    if grid_size and preset.learner in GRIDS:
        points += list(itertools.product(_spaced(grid_size), repeat=2))
    points = list(dict.fromkeys(points))
    axes = [
        Axis(name, tuple(sorted({point[i] for point in points}, key=float)), "log", RANGE)
        for i, name in enumerate(names)
    ]
    return axes, points


def line(sweep: Sweep, axis: int) -> tuple[list[str], np.ndarray]:
    """Return one rate's values in ascending order, the others at the preset, and RA at each `[P, S]`."""
    middle = sweep.points[0]
    on_line = [
        i
        for i, point in enumerate(sweep.points)
        if all(j == axis or point[j] == middle[j] for j in range(len(middle)))
    ]
    on_line.sort(key=lambda i: float(sweep.points[i][axis]))
    return [sweep.points[i][axis] for i in on_line], sweep.values["ra"][on_line]


def grid(sweep: Sweep, size: int) -> tuple[list[str], np.ndarray]:
    """Return the grid's values `[G]`, the same for both rates, and RA there `[G, G, S]`."""
    values = _spaced(size)
    places = {point: i for i, point in enumerate(sweep.points)}
    rows = [[places[a, b] for b in values] for a in values]
    return values, sweep.values["ra"][np.array(rows)]


def numbers(learner: str, sweep: Sweep, grid_size: int) -> dict[str, Any]:
    """Return what the paper's text claims of a learner, in percent; points where a seed diverged are left out.

    Of each rate: `range` is the highest less the lowest mean RA over RANGE, outside of which the preset may lie, `best`
    the value of the highest there, `range_two_orders` as `range` over [0.003, 0.3], `rank_correlation` Spearman's
    between all values and RA (1: RA always rises with them).
    """
    found: dict[str, Any] = {"learner": learner, "rates": {}}
    best: list[float] = []
    for i, (name, letter) in enumerate(RATES[learner].items()):
        values, measured = line(sweep, i)
        at, mean = np.array(values, float), measured.mean(axis=1)
        whole = ~np.isnan(mean)
        inside = whole & (at >= RANGE[0]) & (at <= RANGE[1])
        wide = inside & (at >= 0.003)
        found["rates"][name] = {
            "letter": letter,
            "range": _spread(mean[inside]),
            "range_two_orders": _spread(mean[wide]),
            "best": float(at[inside][mean[inside].argmax()]) if inside.any() else None,
            "rank_correlation": _rank_correlation(at[whole], mean[whole]),
            "diverged_at": at[~whole].tolist(),
        }
        best.append(found["rates"][name]["best"])
    if grid_size and learner in GRIDS:
        values, measured = grid(sweep, grid_size)
        mean = measured.mean(axis=2)
        if not np.isnan(mean).all():
            diagonal = np.diagonal(mean)
            row, column = np.unravel_index(np.nanargmax(mean), mean.shape)
            found["grid"] = {
                "best": [float(values[row]), float(values[column])],
                "best_ra": float(np.nanmax(mean)),
                "best_ra_where_both_are_equal": float(np.nanmax(diagonal)),
                "diverged": int(np.isnan(mean).sum()),
            }
    return found


def table(found: Mapping[str, Any]) -> list[list[str]]:
    """Return what `numbers` found of the rates as a table."""
    ranges = ["range of RA over [0.001, 0.3]", "over [0.003, 0.3]"]
    rows = [["rate", *ranges, "best at", "rank correlation", "diverged at"]]
    for name, rate in found["rates"].items():
        numbers = [rate[key] for key in ("range", "range_two_orders", "best", "rank_correlation")]
        cells = ["–" if number is None else f"{number:.3g}" for number in numbers]
        diverged = ", ".join(f"{value:.3g}" for value in rate["diverged_at"]) or "–"
        rows.append([f"{rate['letter']} ({name})", *cells, diverged])
    return rows


def joined(of_learners: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the tables of several learners as one, the learner first."""
    tables = [table(found) for found in of_learners]
    rows = [["learner", *tables[0][0]]]
    for found, (_, *of_rates) in zip(of_learners, tables, strict=True):
        rows += [[title_of(found["learner"]), *row] for row in of_rates]
    return rows


def parts(found: Mapping[str, Any], sweep: Sweep, grid_size: int) -> list[Part]:
    """Return a learner's rates one at a time, and its grid, with their pictures.

    Args:
        found: The learner's, of `numbers`.
        sweep: Of the points of `rates_around`.
        grid_size: As there.
    """
    learner = found["learner"]
    rates = {name: f"{letter} ({name})" for name, letter in RATES[learner].items()}
    lines = {label: line(sweep, i) for i, label in enumerate(rates.values())}
    preset = dict(zip(lines, map(float, sweep.points[0]), strict=True))
    made = [
        Part(
            f"{learner}_rates",
            f"{title_of(learner)} over each rate",
            "RA in percent, the other rates at the preset.",
            table(found),
            lambda title, *, narrow=False: sweep_figures.plot_lines(
                lines, title, scale="log", xlabel="learning rate", marked=preset, narrow=narrow
            ),
            ("rate", "value", "seed", "RA"),
            [
                (label, value, seed, float(ra))
                for label, (values, measured) in lines.items()
                for value, of_seeds in zip(values, measured, strict=True)
                for seed, ra in zip(sweep.seeds, of_seeds, strict=True)
            ],
        )
    ]
    if grid_size and learner in GRIDS:
        row, column = (rates[name] for name in GRIDS[learner])
        made.append(_grid_part(found, row, column, *grid(sweep, grid_size), sweep.seeds))
    return made


def read(root: pathlib.Path, about: About) -> list[Part]:
    """Return the parts of a finished analysis in its folder."""
    size, made = about.options["grid_size"], []
    for learner in about.learners:
        sweep, _ = load(root / learner)
        made += parts(numbers(learner, sweep, size), sweep, size)
    return made


def _grid_part(
    found: Mapping[str, Any],
    row: str,
    column: str,
    values: list[str],
    measured: np.ndarray,
    seeds: Sequence[int],
) -> Part:
    mean, std = measured.mean(axis=2), spread(measured)
    cells = [
        ["diverged" if np.isnan(m) else in_words(m, s) for m, s in zip(*of, strict=True)]
        for of in zip(mean, std, strict=True)
    ]
    shown, remarks = [f"{float(value):.3g}" for value in values], []
    if best := found.get("grid"):
        at = " and ".join(f"{rate:.3g}" for rate in best["best"])
        remarks.append(
            f"Of the grid: best RA {best['best_ra']:.2f} at {at}, where both rates are equal "
            f"{best['best_ra_where_both_are_equal']:.2f}; {best['diverged']} points diverged."
        )
    return Part(
        f"{found['learner']}_grid",
        f"{title_of(found['learner'])} over {row} and {column}",
        f"RA in percent, mean ± standard deviation over seeds; a row per {row}, a column per {column}.",
        [
            [row, *shown],
            *([value, *texts] for value, texts in zip(shown, cells, strict=True)),
        ],
        lambda title, *, narrow=False: sweep_figures.plot_heat_map(
            (row, values), (column, values), mean, std, title
        ),
        (row, column, "seed", "RA"),
        [
            (a, b, seed, float(measured[i, j, s]))
            for i, a in enumerate(values)
            for j, b in enumerate(values)
            for s, seed in enumerate(seeds)
        ],
        remarks,
    )


def _spaced(number: int) -> list[str]:
    return [f"{value:.6g}" for value in np.geomspace(*RANGE, number)]


def _spread(values: np.ndarray) -> float | None:
    return float(values.max() - values.min()) if len(values) else None


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    defined = len(a) > 1 and len(set(b)) > 1
    return float(spearmanr(a, b).statistic) if defined else None
