"""Figures of a run, drawn from the arrays that it writes to `results.npz`.

Dimensions: S seeds, T tasks, L layers. Row t of an accuracy matrix `[S, T + 1, T]` is measured
after training on t tasks (row 0: before training), column i belongs to the i-th task; figures
number tasks from 1. Accuracies are fractions in [0, 1], NaN where nothing was evaluated; figures
show percent. Lines and bars are means over seeds, bands and whiskers one standard deviation. Where
points are missing, those that exist are marked and joined by a dotted line. Seeds that diverged
are left out by the caller.

Nothing here touches pyplot's global state: each function returns a `Figure` for `Figure.savefig`.
"""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from lamaml_jax import metrics

# Okabe and Ito's colours, which the colour-blind tell apart, and line styles for more series.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", (0, (1, 1)))
MARKERS = ("o", "s", "^", "v")  # instead of the line styles, where only points exist
_PAPER: dict[str, Any] = {
    "marker": "D",
    "color": "black",
    "markeredgecolor": "white",
    "markersize": 8,
}
_DPI = 150


def plot_accuracy_matrix(accuracy: np.ndarray, title: str) -> Figure:
    """Draw the accuracy matrix as a heat map, grey where no seed was evaluated.

    The staircase parts the tasks seen so far, below it, from those still to come.

    Args:
        accuracy: Fractions `[S, T + 1, T]`.
        title: Stands above the picture.

    Returns:
        The figure; the image in its first axes holds the means in percent, `[T + 1, T]`.
    """
    mean, _ = _over_seeds(100 * accuracy)
    num_tasks = mean.shape[1]
    figure, (ax,) = subplots(title, (6.4, 5.6))
    image = ax.imshow(
        mean,
        cmap=matplotlib.colormaps["viridis"].with_extremes(bad="lightgrey"),
        vmin=0,
        vmax=100,
        aspect="auto",
        extent=(0.5, num_tasks + 0.5, num_tasks + 0.5, -0.5),
    )
    tasks = np.arange(1, num_tasks + 1)
    ax.stairs(tasks - 0.5, np.append(0.5, tasks + 0.5), baseline=None, color="white")
    if num_tasks <= 10:
        for (row, column), value in np.ndenumerate(mean):
            if np.isfinite(value):
                color = "white" if value < 60 else "black"
                ax.text(column + 1, row, f"{value:.0f}", color=color, ha="center", va="center")
    ax.spines[:].set_visible(False)
    _count_from(ax.xaxis, 1, num_tasks)
    _count_from(ax.yaxis, 0, num_tasks)
    ax.set_xlabel("evaluated on task")
    ax.set_ylabel("after training on task (0: before training)")
    figure.colorbar(image, ax=ax, label="test accuracy (%)", pad=0.02)
    return figure


def plot_task_accuracies(accuracy: np.ndarray, title: str) -> Figure:
    """Draw the accuracy of every task from when it is learnt, and the mean over tasks seen so far.

    Args:
        accuracy: Fractions `[S, T + 1, T]`.
        title: Stands above the picture.

    Returns:
        The figure; the lines of its first axes are the tasks in order, then the mean.
    """
    num_tasks = accuracy.shape[2]
    figure, (ax,) = subplots(title, (7.2, 4.5))
    # The last tenth of viridis is too pale for lines on white.
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, num_tasks))
    tasks = np.arange(1, num_tasks + 1)
    band = min(0.15, 2 / num_tasks)
    line: dict[str, Any] = {"linewidth": 1.2, "marker": "o", "markersize": 3.5, "markevery": [0]}
    for i, color in enumerate(colors):
        _draw(ax, tasks[i:], 100 * accuracy[:, i + 1 :, i], band, color=color, **line)
    halo = [Stroke(linewidth=4.8, foreground="white"), Normal()]
    line = {"color": "black", "linewidth": 2.8, "path_effects": halo}
    label = "mean over the tasks seen so far"
    _draw(ax, tasks, 100 * _mean_over_seen(accuracy), 0.25, label=label, **line)
    _percent_axis(ax, "test accuracy (%)")
    _count_from(ax.xaxis, 1, num_tasks)
    ax.set_xlabel("after training on task")
    ax.legend(edgecolor="none", loc="lower left")
    norm = BoundaryNorm(np.arange(num_tasks + 1) + 0.5, num_tasks)
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colors)), ax=ax, pad=0.02)
    bar.set_label("task (dot: just learnt)")
    bar.ax.minorticks_off()
    _count_from(bar.ax.yaxis, 1, num_tasks)
    return figure


def plot_learning_rates(
    rate_mean: np.ndarray,
    rate_share_nonpositive: np.ndarray,
    layer_names: np.ndarray,
    title: str,
) -> Figure:
    """Draw each layer's mean learnt rate, and the share of its rates at or below zero.

    Args:
        rate_mean: Mean rate per layer `[S, T + 1, L]`; row 0 is the initial rate.
        rate_share_nonpositive: Fractions `[S, T + 1, L]`.
        layer_names: `[L]` strings; of `layer/part`, the layer picks the colour and the part the
            line style.
        title: Stands above the picture.

    Returns:
        The figure; its two axes hold one line per layer, in the order of `layer_names`.
    """
    figure, (left, right) = subplots(title, (11, 4.2), 2)
    names = [str(name) for name in layer_names]
    groups = [name.rsplit("/", 1) if "/" in name else (name, "") for name in names]
    layers = list(dict.fromkeys(layer for layer, _ in groups))
    parts = list(dict.fromkeys(part for _, part in groups))
    after = np.arange(rate_mean.shape[1])
    for ax, values in ((left, rate_mean), (right, 100 * rate_share_nonpositive)):
        for i, (layer, part) in enumerate(groups):
            color = COLORS[layers.index(layer) % len(COLORS)]
            style = LINE_STYLES[parts.index(part) % len(LINE_STYLES)]
            _draw(ax, after, values[:, :, i], 0.15, color=color, linestyle=style, label=names[i])
        _count_from(ax.xaxis, 0, len(after) - 1)
        ax.set_xlabel("after training on task (0: before training)")
    left.set_ylabel("mean learning rate α")
    left.grid(axis="y", color="lightgrey", linewidth=0.6)
    _percent_axis(right, "rates at or below zero (%)")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    return figure


def plot_comparison(
    accuracies: Mapping[str, np.ndarray],
    title: str,
    paper: Mapping[str, float] | None = None,
    paper_bti: Mapping[str, float] | None = None,
) -> Figure:
    """Compare learners: accuracy retained as tasks arrive, and RA and BTI at the end.

    Args:
        accuracies: Fractions `[S, T + 1, T]` by the learner's label; S may differ.
        title: Stands above the picture.
        paper: The paper's RA in percent for those labels that have one.
        paper_bti: The paper's BTI in percent, likewise.

    Returns:
        The figure; its axes hold one line per learner, the bars of RA and the bars of BTI.
    """
    figure, (left, middle, right) = subplots(title, (11.5, 4.2), 3, width_ratios=(2, 1, 1))
    for i, (label, accuracy) in enumerate(accuracies.items()):
        color = COLORS[i % len(COLORS)]
        style = LINE_STYLES[i // len(COLORS) % len(LINE_STYLES)]
        line = {"color": color, "linestyle": style, "linewidth": 2, "label": label}
        tasks = np.arange(1, accuracy.shape[2] + 1)
        _draw(left, tasks, 100 * _mean_over_seen(accuracy), 0.2, **line)
    _percent_axis(left, "mean test accuracy, tasks seen so far (%)")
    _count_from(left.xaxis, 1, max(a.shape[2] for a in accuracies.values()))
    left.set_xlabel("after training on task")
    retained = {name: 100 * metrics.retained_accuracy(a) for name, a in accuracies.items()}
    transfer = {name: 100 * metrics.backward_transfer(a) for name, a in accuracies.items()}
    _bars(middle, retained, paper or {})
    middle.set_xlabel("retained accuracy RA (%)")
    _bars(right, transfer, paper_bti or {})
    right.set_xlabel("backward transfer BTI (%)")
    right.tick_params(labelleft=False)
    handles, labels = left.get_legend_handles_labels()
    if paper or paper_bti:
        handles.append(Line2D([], [], linestyle="none", **_PAPER))
        labels.append("the paper's value")
    figure.legend(handles, labels, loc="outside lower center", ncols=8, frameon=False)
    return figure


def _over_seeds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation over axis 0 of what exists, NaN where nothing does."""
    count = (~np.isnan(values)).sum(axis=0)
    count = np.where(count > 0, count, np.nan)
    mean = np.nansum(values, axis=0) / count
    return mean, np.sqrt(np.nansum((values - mean) ** 2, axis=0) / count)


def _mean_over_seen(accuracy: np.ndarray) -> np.ndarray:
    """Return `[S, T]`: the mean over tasks 1 to t after task t, NaN unless all were evaluated."""
    num_tasks = accuracy.shape[2]
    return np.stack([accuracy[:, t, :t].mean(axis=1) for t in range(1, num_tasks + 1)], axis=1)


def subplots(
    title: str, size: tuple[float, float], columns: int = 1, **grid: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure of this size in inches with a title, and its panels side by side."""
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(textwrap.fill(title, int(9 * size[0])), fontweight="bold")
    axes = list(figure.subplots(1, columns, squeeze=False, gridspec_kw=grid)[0])
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _draw(ax: Axes, x: np.ndarray, values: np.ndarray, band: float, **line: Any) -> None:
    """Draw the mean over seeds of `values [S, X]`, and its spread with the opacity `band`."""
    mean, std = _over_seeds(values)
    exists = ~np.isnan(mean)
    if exists.all():
        ax.plot(x, mean, **({"marker": "o"} if len(x) == 1 else {}) | line)
        ax.fill_between(x, mean - std, mean + std, color=line["color"], alpha=band, linewidth=0)
    else:
        marker = MARKERS[LINE_STYLES.index(line.get("linestyle", "-"))]
        line |= {"linestyle": ":", "marker": marker, "markevery": None, "elinewidth": 1}
        ax.errorbar(x[exists], mean[exists], std[exists], **line)


def _bars(ax: Axes, values: Mapping[str, np.ndarray], paper: Mapping[str, float]) -> None:
    """Draw one bar per label, from the top down, with the paper's value as a diamond."""
    for row, (label, per_seed) in enumerate(values.items()):
        mean, std = per_seed.mean(), per_seed.std()
        text = "undefined" if np.isnan(mean) else f"{mean:.1f} ± {std:.1f}".replace("-", "−")
        if not np.isnan(mean):
            ax.barh(row, mean, xerr=std, color=COLORS[row % len(COLORS)], height=0.5, capsize=3)
        ax.text(1.03, row, text, transform=ax.get_yaxis_transform(), va="center")
        if label in paper:
            ax.plot(paper[label], row, **_PAPER)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.spines["left"].set_visible(False)
    ax.tick_params(left=False)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.locator_params(axis="x", nbins=4)


def _percent_axis(ax: Axes, label: str) -> None:
    """Label a percent axis, keeping it within [0, 100] however wide the bands are."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -1), min(high, 101))
    ax.set_ylabel(label)
    ax.grid(axis="y", color="lightgrey", linewidth=0.6)


def _count_from(axis: Axis, first: int, last: int) -> None:
    """Put ticks on whole tasks, always on the first and the last."""
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100, last) if last - first <= 7 * n)
    between = range(step, last - step // 2, step)
    axis.set_ticks(sorted({first, last, *between} if step > 1 else range(first, last + 1)))
