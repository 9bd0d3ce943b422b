"""Figures that compare learners, as `figures` has those of one run.

Dimensions: S seeds, T tasks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.reporting import drawing
from experiments.reporting.summary import in_words, spread
from lamaml_jax import metrics

_PAPER: dict[str, Any] = {
    "marker": "D",
    "color": "black",
    "markeredgecolor": "white",
    "markersize": 8,
}
_PAPER_LABEL = "the paper's value"


def plot_comparison(
    accuracies: Mapping[str, np.ndarray],
    title: str,
    paper: Mapping[str, float] | None = None,
    paper_bti: Mapping[str, float] | None = None,
    *,
    split: str = "test",
) -> Figure:
    """Compare learners: accuracy retained as tasks arrive, and RA and BTI at the end.

    Args:
        accuracies: Fractions `[S, T + 1, T]` by the learner's label; S may differ.
        title: Stands above the picture.
        paper: The paper's RA in percent for those labels that have one.
        paper_bti: The paper's BTI in percent, likewise.
        split: The data that all accuracies are on, "test" or "validation".

    Returns:
        The figure; its axes hold one line per learner, the bars of RA and the bars of BTI.
    """
    figure, (left, middle, right) = drawing.subplots(title, (11.5, 4.2), 3, width_ratios=(2, 1, 1))
    _draw_curves(left, accuracies, f"mean {split} accuracy, tasks seen so far (%)")
    has_paper = _draw_ends((middle, right), accuracies, paper, paper_bti)
    right.tick_params(labelleft=False)
    handles, labels = left.get_legend_handles_labels()
    if has_paper:
        handles.append(_paper_handle())
        labels.append(_PAPER_LABEL)
    figure.legend(handles, labels, loc="outside lower center", ncols=8, frameon=False)
    return figure


def plot_curves(accuracies: Mapping[str, np.ndarray]) -> Figure:
    """Draw the first panel of `plot_comparison` alone, narrow."""
    figure, (ax,) = drawing.subplots("", narrow=True)
    rows = math.ceil(_lines(accuracies) / 2)  # the legend has two columns
    figure.set_figheight(3.3 + 0.2 * rows)
    _draw_curves(ax, accuracies, "mean accuracy, tasks seen so far (%)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def plot_ends(
    accuracies: Mapping[str, np.ndarray],
    paper: Mapping[str, float] | None = None,
    paper_bti: Mapping[str, float] | None = None,
) -> Figure:
    """Draw the bars of `plot_comparison` alone, narrow."""
    figure, axes = drawing.subplots("", panels=2, narrow=True)
    figure.set_figheight(1.6 + 0.4 * _lines(accuracies) + 0.1 * len(accuracies))
    if _draw_ends(axes, accuracies, paper, paper_bti):
        figure.legend([_paper_handle()], [_PAPER_LABEL], loc="outside lower center", frameon=False)
    return figure


def _lines(labels: Iterable[str]) -> int:
    return sum(1 + label.count("\n") for label in labels)


def _draw_curves(ax: Axes, accuracies: Mapping[str, np.ndarray], ylabel: str) -> None:
    for i, (label, accuracy) in enumerate(accuracies.items()):
        color = drawing.COLORS[i % len(drawing.COLORS)]
        style = drawing.LINE_STYLES[i // len(drawing.COLORS) % len(drawing.LINE_STYLES)]
        line = {"color": color, "linestyle": style, "linewidth": 2, "label": label}
        tasks = np.arange(1, accuracy.shape[2] + 1)
        drawing.draw(ax, tasks, 100 * drawing.mean_over_seen(accuracy), 0.2, **line)
    drawing.percent_axis(ax, ylabel)
    drawing.count_from(ax.xaxis, 1, max(a.shape[2] for a in accuracies.values()))
    ax.set_xlabel("after training on task")


def _draw_ends(
    axes: Sequence[Axes],
    accuracies: Mapping[str, np.ndarray],
    paper: Mapping[str, float] | None,
    paper_bti: Mapping[str, float] | None,
) -> bool:
    """Draw the bars of RA and BTI; say whether a value of the paper is among them."""
    retained = {name: 100 * metrics.retained_accuracy(a) for name, a in accuracies.items()}
    transfer = {name: 100 * metrics.backward_transfer(a) for name, a in accuracies.items()}
    _bars(axes[0], retained, paper or {})
    axes[0].set_xlabel("retained accuracy RA (%)")
    _bars(axes[1], transfer, paper_bti or {})
    axes[1].set_xlabel("backward transfer BTI (%)")
    return bool(paper or paper_bti)


def _paper_handle() -> Line2D:
    return Line2D([], [], linestyle="none", **_PAPER)


def _bars(ax: Axes, values: Mapping[str, np.ndarray], paper: Mapping[str, float]) -> None:
    """Draw one bar per label, from the top down, with the paper's value as a diamond."""
    for row, (label, per_seed) in enumerate(values.items()):
        mean, std = per_seed.mean(), per_seed.std()
        words = in_words(mean, spread(per_seed), ".1f").replace("-", "−")
        text = "undefined" if np.isnan(mean) else words
        if not np.isnan(mean):
            ax.barh(
                row,
                mean,
                xerr=std,
                color=drawing.COLORS[row % len(drawing.COLORS)],
                height=0.5,
                capsize=3,
            )
        ax.text(1.03, row, text, transform=ax.get_yaxis_transform(), va="center")
        if label in paper:
            ax.plot(paper[label], row, **_PAPER)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.spines["left"].set_visible(False)
    ax.tick_params(left=False)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.locator_params(axis="x", nbins=4)
