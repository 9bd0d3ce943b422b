"""What the figures share: colours, axes of percent and of tasks, lines of means with bands of one standard deviation.

Dimensions: S seeds, T tasks, X points of a line.
"""

import textwrap
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart, and line styles for more series.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", (0, (1, 1)))
MARKERS = ("o", "s", "^", "v")  # instead of the line styles, where only points exist
# Nearly white and black: a page in dark colours turns black into white, but not on a map, whose colours stay.
ON_MAP = ("#fefefe", "#010101")
_DPI = 150
_NARROW = 4.6  # inches


def over_seeds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation over axis 0 of what exists, NaN where nothing does."""
    count = (~np.isnan(values)).sum(axis=0)
    count = np.where(count > 0, count, np.nan)
    mean = np.nansum(values, axis=0) / count
    return mean, np.sqrt(np.nansum((values - mean) ** 2, axis=0) / count)


def mean_over_seen(accuracy: np.ndarray) -> np.ndarray:
    """Return `[S, T]`: the mean over tasks 1 to t after task t, NaN unless all were evaluated."""
    num_tasks = accuracy.shape[2]
    return np.stack([accuracy[:, t, :t].mean(axis=1) for t in range(1, num_tasks + 1)], axis=1)


def subplots(
    title: str,
    size: tuple[float, float] = (7.2, 4.5),
    panels: int = 1,
    *,
    narrow: bool = False,
    rows: int = 1,
    **grid: Any,
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels: in `rows`, or where `narrow` one below the other in a phone's width."""
    shape = (panels, 1) if narrow else (rows, -(-panels // rows))
    size = (_NARROW, 3.7 if panels == 1 else 2.9 * panels) if narrow else size
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    if title:
        figure.suptitle(textwrap.fill(title, int(9 * size[0])), fontweight="bold")
    axes = list(figure.subplots(*shape, squeeze=False, gridspec_kw=grid).flat)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw(ax: Axes, x: np.ndarray, values: np.ndarray, band: float, **line: Any) -> None:
    """Draw the mean over seeds of `values [S, X]`, and its spread with the opacity `band`."""
    mean, std = over_seeds(values)
    exists = ~np.isnan(mean)
    if exists.all():
        ax.plot(x, mean, **({"marker": "o"} if len(x) == 1 else {}) | line)
        ax.fill_between(x, mean - std, mean + std, color=line["color"], alpha=band, linewidth=0)
    else:
        marker = MARKERS[LINE_STYLES.index(line.get("linestyle", "-"))]
        line |= {"linestyle": ":", "marker": marker, "markevery": None, "elinewidth": 1}
        ax.errorbar(x[exists], mean[exists], std[exists], **line)


def shades(number: int, *, narrow: bool = False) -> np.ndarray:
    """Return the colours `[number, 4]` of lines that follow each other; where `narrow`, on white and on black.

    The last tenth of viridis is too pale for lines on white, its first third too dark for lines on black.
    """
    return matplotlib.colormaps["viridis"](np.linspace(0.35 if narrow else 0, 0.9, number))


def percent_axis(ax: Axes, label: str) -> None:
    """Label a percent axis, keeping it within [0, 100] however wide the bands are."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -1), min(high, 101))
    ax.set_ylabel(label)
    ax.grid(axis="y", color="lightgrey", linewidth=0.6)


def count_from(axis: Axis, first: int, last: int) -> None:
    """Put ticks on whole tasks, always on the first and the last."""
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100, last) if last - first <= 7 * n)
    between = range(step, last - step // 2, step)
    axis.set_ticks(sorted({first, last, *between} if step > 1 else range(first, last + 1)))
