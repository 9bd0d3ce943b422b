"""Figures of sweeps: a line over one axis, a heat map over two, and every axis on its own over more.

Dimensions: P points, S seeds. Values are in percent, NaN where a run diverged.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.reporting.drawing import COLORS, MARKERS, ON_MAP, subplots
from experiments.reporting.summary import in_words
from experiments.sweeps.grid import number

LABEL = "retained accuracy RA (%)"
_DARK = 0.45  # the share of viridis, from below, on which white reads better than black
_FEW = 10
_DIVERGED: dict[str, Any] = {"marker": "x", "color": "black", "linestyle": "none", "clip_on": False}


def plot_lines(
    lines: Mapping[str, tuple[Sequence[str], np.ndarray]],
    title: str,
    *,
    scale: str,
    xlabel: str,
    marked: Mapping[str, float] | None = None,
    narrow: bool = False,
) -> Figure:
    """Draw one line per label over the values of an axis, with the spread over seeds.

    Args:
        lines: By label the axis's values `[P]` and what was measured `[P, S]`.
        title: Stands above the picture.
        scale: The axis's: "log", "lin" or "words".
        xlabel: The axis's name.
        marked: By label the value that the preset has; the nearest point gets a ring.
        narrow: For a phone.

    Returns:
        The figure; points at which a run diverged are crosses at its foot.
    """
    figure, (ax,) = subplots(title, (6.4, 4.4), narrow=narrow)
    words = list(dict.fromkeys(value for values, _ in lines.values() for value in values))
    diverged: list[float] = []
    for i, (label, (values, measured)) in enumerate(lines.items()):
        color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
        x = np.array([words.index(v) if scale == "words" else float(v) for v in values])
        order = np.argsort(x, kind="stable")
        x, measured = x[order], measured[order]
        whole = ~np.isnan(measured).any(axis=1)
        diverged += x[~whole].tolist()
        mean = np.where(whole, measured.mean(axis=1), np.nan)
        std = measured.std(axis=1)
        joined = "none" if scale == "words" else "-"
        ax.plot(x, mean, color=color, marker=marker, linestyle=joined, linewidth=2, label=label)
        if scale == "words":
            ax.errorbar(x, mean, std, color=color, linestyle="none", capsize=3)
        else:
            ax.fill_between(x, mean - std, mean + std, color=color, alpha=0.2, linewidth=0)
        if marked and label in marked:
            apart = np.log(x / marked[label]) if scale == "log" else x - marked[label]
            at = np.abs(apart).argmin()
            ax.plot(x[at], mean[at], "o", mfc="none", mec=color, markersize=14, mew=1.5)
    if marked:
        ring: dict[str, Any] = {"mfc": "none", "mec": "grey", "markersize": 11, "mew": 1.5}
        ax.plot([], [], "o", label="the preset", **ring)
    if diverged:
        foot = np.full(len(diverged), 0.02)
        ax.plot(diverged, foot, transform=ax.get_xaxis_transform(), label="diverged", **_DIVERGED)
    _set_axis(ax, scale, words)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(LABEL)
    ax.grid(axis="y", color="lightgrey", linewidth=0.6)
    if len(lines) > 1 or diverged or marked:
        columns = 2 if narrow else 4
        figure.legend(loc="outside lower center", ncols=columns, frameon=False)
    return figure


def plot_heat_map(
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    mean: np.ndarray,
    std: np.ndarray,
    title: str,
) -> Figure:
    """Draw the mean over seeds over two axes, a cross where a run diverged and a frame around the best.

    Args:
        rows: The first axis's name and values `[R]`, drawn upwards.
        columns: The second axis's `[C]`.
        mean: `[R, C]`, NaN where a run diverged.
        std: `[R, C]`, NaN of a single seed.
        title: Stands above the picture.

    Returns:
        The figure; the image in its first axes holds the means.
    """
    shape = mean.shape
    size = (max(5.0, 1.8 + 0.8 * shape[1]), max(3.6, 1.6 + 0.55 * shape[0]))
    figure, (ax,) = subplots(title, size)
    image = ax.imshow(
        mean,
        cmap=matplotlib.colormaps["viridis"].with_extremes(bad="lightgrey"),
        origin="lower",
        aspect="auto",
    )
    low, high = image.get_clim()
    for (r, c), value in np.ndenumerate(mean):
        if np.isnan(value):
            ax.text(c, r, "×", color=ON_MAP[1], ha="center", va="center", fontsize=14)
            continue
        color = ON_MAP[int(value >= low + _DARK * (high - low))]
        text = in_words(float(value), None if shape[1] > 6 else float(std[r, c]), ".1f")
        ax.text(c, r, text, color=color, ha="center", va="center", fontsize=8)
    if np.isfinite(mean).any():
        r, c = np.unravel_index(np.nanargmax(mean), shape)
        frame = matplotlib.patches.Rectangle(
            (c - 0.5, r - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=3, zorder=3
        )
        ax.add_patch(frame)
    ax.set_xticks(range(shape[1]), [_short(v) for v in columns[1]])
    ax.set_yticks(range(shape[0]), [_short(v) for v in rows[1]])
    ax.set_xlabel(columns[0])
    ax.set_ylabel(rows[0])
    ax.spines[:].set_visible(False)
    figure.colorbar(image, label=LABEL)
    return figure


def plot_each_axis(
    axes: Sequence[tuple[str, str, Sequence[str]]],
    values: np.ndarray,
    title: str,
    *,
    narrow: bool = False,
) -> Figure:
    """Draw what every point gave over each axis on its own.

    Args:
        axes: Of every axis the name, the scale and the points' values `[P]`.
        values: `[P, S]`.
        title: Stands above the picture.
        narrow: For a phone, one panel below the other.

    Returns:
        The figure, a panel per axis with a dot per point, its mean over seeds.
    """
    figure, panels = subplots(title, (1.0 + 3.0 * len(axes), 3.6), len(axes), narrow=narrow)
    mean = np.where(np.isnan(values).any(axis=1), np.nan, values.mean(axis=1))
    gone = np.isnan(mean)
    for i, (ax, (name, scale, at)) in enumerate(zip(panels, axes, strict=True)):
        words = list(dict.fromkeys(at))
        x = np.array([words.index(v) if scale == "words" else float(v) for v in at])
        ax.plot(x[~gone], mean[~gone], "o", color=COLORS[0], alpha=0.6)
        if gone.any():  # an empty line in two kinds of coordinates upsets the layout
            foot = np.full(gone.sum(), 0.02)
            ax.plot(x[gone], foot, transform=ax.get_xaxis_transform(), **_DIVERGED)
        _set_axis(ax, scale, words)
        ax.set_xlabel(name)
        ax.grid(axis="y", color="lightgrey", linewidth=0.6)
        if i == 0 or narrow:
            ax.set_ylabel(LABEL)
        else:
            ax.sharey(panels[0])
            ax.tick_params(labelleft=False)
    return figure


def _set_axis(ax: Axes, scale: str, words: Sequence[str]) -> None:
    """Set the scale of an axis over these values, with ticks at words and at few whole numbers."""
    if scale == "words":
        ax.set_xticks(range(len(words)), words)
        ax.set_xlim(-0.5, len(words) - 0.5)
    elif scale == "log":
        ax.set_xscale("log")
        if len(words) <= _FEW and all(word.isdecimal() for word in words):
            ax.set_xticks([int(word) for word in words], words)
            ax.set_xticks([], minor=True)


def _short(value: str) -> str:
    """Return a number in three digits, or a word as it is."""
    found = number(value)
    return value if found is None else f"{found:.3g}"
