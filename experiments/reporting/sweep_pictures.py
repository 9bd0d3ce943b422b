"""The picture file of a sweep."""

import pathlib

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting import sweep_figures
from experiments.reporting.pictures import draw_anew
from experiments.reporting.summary import spread
from experiments.sweeps.results import Sweep


def draw(folder: pathlib.Path, sweep: Sweep, title: str) -> list[pathlib.Path]:
    """Draw sweep.png.

    Returns:
        Its path; none, with a warning, if it cannot be drawn.
    """
    return draw_anew(folder / "sweep.png", lambda: plot(sweep, title))


def plot(sweep: Sweep, title: str, *, narrow: bool = False) -> Figure:
    """Return the figure that fits a sweep's axes, lines and dots in a phone's width where `narrow`.

    One is a line with the seeds' spread, two are a heat map, or a line per word where one of them is of words; of more
    axes, or of random points, each is drawn on its own.
    """
    axes, values = sweep.axes, sweep.values["ra"]
    columns = [[point[i] for point in sweep.points] for i in range(len(axes))]
    if len(axes) == 1:
        (axis,) = axes
        lines = {axis.name: (columns[0], values)}
        # A seed is a name, though it looks like a number: one says nothing of the next.
        scale = "words" if axis.name == "stream_seed" else axis.scale
        return sweep_figures.plot_lines(lines, title, scale=scale, xlabel=axis.name, narrow=narrow)
    is_grid = len(axes) == 2 and len(set(sweep.points)) == np.prod([len(set(c)) for c in columns])
    if not is_grid:
        described = [(a.name, a.scale, c) for a, c in zip(axes, columns, strict=True)]
        return sweep_figures.plot_each_axis(described, values, title, narrow=narrow)
    words = [i for i, axis in enumerate(axes) if axis.scale == "words"]
    if len(words) == 1:
        (word,) = words
        number, lines = axes[1 - word], {}
        for value in axes[word].values:
            of = [i for i, point in enumerate(sweep.points) if point[word] == value]
            at = [columns[1 - word][i] for i in of]
            lines[f"{axes[word].name}={value}"] = (at, values[of])
        return sweep_figures.plot_lines(
            lines, title, scale=number.scale, xlabel=number.name, narrow=narrow
        )
    rows, across = (list(dict.fromkeys(column)) for column in columns)
    whole = ~np.isnan(values).any(axis=1)
    mean, std = np.full((2, len(rows), len(across)), np.nan)
    for i, (row, column) in enumerate(sweep.points):
        if whole[i]:
            cell = rows.index(row), across.index(column)
            mean[cell], std[cell] = values[i].mean(), spread(values[i])
    return sweep_figures.plot_heat_map(
        (axes[0].name, rows), (axes[1].name, across), mean, std, title
    )
