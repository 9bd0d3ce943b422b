"""How far retained accuracy depends on the learning rates (Appendix E, Figures 5 and 6).

Dimensions: P points, S seeds.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from experiments.reporting import sweep_figures
from experiments.reporting.summary import title_of
from experiments.runs.config import Config
from experiments.sweeps.grid import Axis, Point
from experiments.sweeps.results import Sweep

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

    Of each rate: `range` is the highest less the lowest mean RA, `range_two_orders` the same over [0.003, 0.3], `best`
    the value of the highest, `rank_correlation` Spearman's between the rate and RA (1: RA always rises with it).
    """
    found: dict[str, Any] = {"learner": learner, "rates": {}}
    best: list[float] = []
    for i, (name, letter) in enumerate(RATES[learner].items()):
        values, measured = line(sweep, i)
        at, mean = np.array(values, float), measured.mean(axis=1)
        whole = ~np.isnan(mean)
        wide = whole & (at >= 0.003) & (at <= 0.3)
        found["rates"][name] = {
            "letter": letter,
            "range": _spread(mean[whole]),
            "range_two_orders": _spread(mean[wide]),
            "best": float(at[whole][mean[whole].argmax()]) if whole.any() else None,
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
    spread = ["range of RA over [0.001, 0.3]", "over [0.003, 0.3]"]
    rows = [["rate", *spread, "best at", "rank correlation", "diverged at"]]
    for name, rate in found["rates"].items():
        numbers = [rate[key] for key in ("range", "range_two_orders", "best", "rank_correlation")]
        cells = ["–" if number is None else f"{number:.3g}" for number in numbers]
        diverged = ", ".join(f"{value:.3g}" for value in rate["diverged_at"]) or "–"
        rows.append([f"{rate['letter']} ({name})", *cells, diverged])
    return rows


def figures(preset: Config, sweep: Sweep, grid_size: int) -> dict[str, Callable[[], Figure]]:
    """Return the pictures of a learner by file name: its rates one at a time, and the grid."""
    learner, rates = preset.learner, RATES[preset.learner]
    title = f"{title_of(learner)} on {preset.benchmark}, {len(sweep.seeds)} seeds"
    lines = {f"{letter} ({name})": line(sweep, i) for i, (name, letter) in enumerate(rates.items())}
    marked = {f"{letter} ({name})": preset.keywords[name] for name, letter in rates.items()}
    drawn: dict[str, Callable[[], Figure]] = {
        f"{learner}_rates.png": lambda: sweep_figures.plot_lines(
            lines, title, scale="log", xlabel="learning rate", marked=marked
        )
    }
    if grid_size and learner in GRIDS:
        values, measured = grid(sweep, grid_size)
        rows, columns = (f"{rates[name]} ({name})" for name in GRIDS[learner])
        drawn[f"{learner}_grid.png"] = lambda: sweep_figures.plot_heat_map(
            (rows, values), (columns, values), measured.mean(axis=2), measured.std(axis=2), title
        )
    return drawn


def _spaced(number: int) -> list[str]:
    return [f"{value:.6g}" for value in np.geomspace(*RANGE, number)]


def _spread(values: np.ndarray) -> float | None:
    return float(values.max() - values.min()) if len(values) else None


def _rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    defined = len(a) > 1 and len(set(b)) > 1
    return float(spearmanr(a, b).statistic) if defined else None
