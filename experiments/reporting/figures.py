"""Figures of a run, drawn from the arrays that it writes to `results.npz`.

Dimensions: S seeds, T tasks, L layers. Row t of an accuracy matrix `[S, T + 1, T]` is measured
after training on t tasks (row 0: before training), column i belongs to the i-th task; figures
number tasks from 1. Accuracies are fractions in [0, 1], NaN where nothing was evaluated; figures
show percent. Lines and bars are means over seeds, bands and whiskers one standard deviation. Where
points are missing, those that exist are marked and joined by a dotted line. Seeds that diverged
are left out by the caller. Several learners are compared in `comparison`.

Nothing here touches pyplot's global state: each function returns a `Figure` for `Figure.savefig`. A
`narrow` one has the width of a phone in inches, and its panels one below the other.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from experiments.reporting import drawing


def plot_accuracy_matrix(
    accuracy: np.ndarray, title: str, *, split: str = "test", narrow: bool = False
) -> Figure:
    """Draw the accuracy matrix as a heat map, grey where no seed was evaluated.

    The staircase parts the tasks seen so far, below it, from those still to come.

    Args:
        accuracy: Fractions `[S, T + 1, T]`.
        title: Stands above the picture.
        split: The data that accuracies are on, "test" or "validation".
        narrow: See the module.

    Returns:
        The figure; the image in its first axes holds the means in percent, `[T + 1, T]`.
    """
    mean, _ = drawing.over_seeds(100 * accuracy)
    num_tasks = mean.shape[1]
    figure, (ax,) = drawing.subplots(title, (6.4, 5.6), narrow=narrow)
    image = ax.imshow(
        mean,
        cmap=matplotlib.colormaps["viridis"].with_extremes(bad="lightgrey"),
        vmin=0,
        vmax=100,
        aspect="auto",
        extent=(0.5, num_tasks + 0.5, num_tasks + 0.5, -0.5),
    )
    tasks = np.arange(1, num_tasks + 1)
    ax.stairs(tasks - 0.5, np.append(0.5, tasks + 0.5), baseline=None, color=drawing.ON_MAP[0])
    if num_tasks <= 10:
        for (row, column), value in np.ndenumerate(mean):
            if np.isfinite(value):
                color = drawing.ON_MAP[int(value >= 60)]
                ax.text(column + 1, row, f"{value:.0f}", color=color, ha="center", va="center")
    ax.spines[:].set_visible(False)
    drawing.count_from(ax.xaxis, 1, num_tasks)
    drawing.count_from(ax.yaxis, 0, num_tasks)
    ax.set_xlabel("evaluated on task")
    ax.set_ylabel("after training on task (0: before training)")
    figure.colorbar(image, ax=ax, label=f"{split} accuracy (%)", pad=0.02)
    return figure


def plot_task_accuracies(
    accuracy: np.ndarray, title: str, *, split: str = "test", narrow: bool = False
) -> Figure:
    """Draw the accuracy of every task from when it is learnt, and the mean over tasks seen so far.

    Args:
        accuracy: Fractions `[S, T + 1, T]`.
        title: Stands above the picture.
        split: The data that accuracies are on, "test" or "validation".
        narrow: See the module.

    Returns:
        The figure; the lines of its first axes are the tasks in order, then the mean.
    """
    num_tasks = accuracy.shape[2]
    figure, (ax,) = drawing.subplots(title, (7.2, 4.5), narrow=narrow)
    colors = drawing.shades(num_tasks, narrow=narrow)
    tasks = np.arange(1, num_tasks + 1)
    band = min(0.15, 2 / num_tasks)
    line: dict[str, Any] = {"linewidth": 1.2, "marker": "o", "markersize": 3.5, "markevery": [0]}
    for i, color in enumerate(colors):
        drawing.draw(ax, tasks[i:], 100 * accuracy[:, i + 1 :, i], band, color=color, **line)
    halo = [Stroke(linewidth=4.8, foreground="white"), Normal()]
    line = {"color": "black", "linewidth": 2.8, "path_effects": halo}
    label = "mean over the tasks seen so far"
    drawing.draw(ax, tasks, 100 * drawing.mean_over_seen(accuracy), 0.25, label=label, **line)
    drawing.percent_axis(ax, f"{split} accuracy (%)")
    drawing.count_from(ax.xaxis, 1, num_tasks)
    ax.set_xlabel("after training on task")
    ax.legend(edgecolor="none", loc="lower left")
    norm = BoundaryNorm(np.arange(num_tasks + 1) + 0.5, num_tasks)
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colors)), ax=ax, pad=0.02)
    bar.set_label("task (dot: just learnt)")
    bar.ax.minorticks_off()
    drawing.count_from(bar.ax.yaxis, 1, num_tasks)
    return figure


def plot_learning_rates(
    rate_mean: np.ndarray,
    rate_share_nonpositive: np.ndarray,
    layer_names: np.ndarray,
    title: str,
    *,
    narrow: bool = False,
) -> Figure:
    """Draw each layer's mean learnt rate, and the share of its rates at or below zero.

    Args:
        rate_mean: Mean rate per layer `[S, T + 1, L]`; row 0 is the initial rate.
        rate_share_nonpositive: Fractions `[S, T + 1, L]`.
        layer_names: `[L]` strings; of `layer/part`, the layer picks the colour and the part the
            line style.
        title: Stands above the picture.
        narrow: See the module.

    Returns:
        The figure; its two axes hold one line per layer, in the order of `layer_names`.
    """
    figure, (left, right) = drawing.subplots(title, (11, 4.2), 2, narrow=narrow)
    names = [str(name) for name in layer_names]
    groups = [name.rsplit("/", 1) if "/" in name else (name, "") for name in names]
    layers = list(dict.fromkeys(layer for layer, _ in groups))
    parts = list(dict.fromkeys(part for _, part in groups))
    after = np.arange(rate_mean.shape[1])
    for ax, values in ((left, rate_mean), (right, 100 * rate_share_nonpositive)):
        for i, (layer, part) in enumerate(groups):
            color = drawing.COLORS[layers.index(layer) % len(drawing.COLORS)]
            style = drawing.LINE_STYLES[parts.index(part) % len(drawing.LINE_STYLES)]
            drawing.draw(
                ax, after, values[:, :, i], 0.15, color=color, linestyle=style, label=names[i]
            )
        drawing.count_from(ax.xaxis, 0, len(after) - 1)
        ax.set_xlabel("after training on task (0: before training)")
    left.set_ylabel("mean learning rate α")
    left.grid(axis="y", color="lightgrey", linewidth=0.6)
    drawing.percent_axis(right, "rates at or below zero (%)")
    handles, labels = left.get_legend_handles_labels()
    where: dict[str, Any] = {"loc": "outside right center"}
    if narrow:
        where = {"loc": "outside lower center", "ncols": 2}
    figure.legend(handles, labels, frameon=False, **where)
    return figure


def plot_inside_tasks(
    accuracy: np.ndarray,
    inside: np.ndarray,
    progress: np.ndarray,
    title: str,
    *,
    split: str = "test",
    narrow: bool = False,
) -> Figure:
    """Draw the first task's accuracy and the mean over old tasks, batch by batch.

    Old are the tasks that were learnt before the one at hand: the line of their mean begins anew at each switch.

    Args:
        accuracy: Fractions `[S, T + 1, T]`.
        inside: Fractions of E evaluations inside each task `[S, T, E, T]`.
        progress: The share of each task's training behind each of them `[T, E]`; NaN from a shorter task's end on.
        title: Stands above the picture.
        split: The data that accuracies are on, "test" or "validation".
        narrow: See the module.

    Returns:
        The figure; the lines of its first axes are the first task, then the old tasks' means, switch by switch.
    """
    num_tasks = accuracy.shape[2]
    figure, (ax,) = drawing.subplots(title, (9, 4.5), narrow=narrow)
    x, values = inside_curves(accuracy, inside, progress)
    line: dict[str, Any] = {"linewidth": 1.6}
    first = values[..., 0].reshape(len(values), -1)
    label = "task 1"
    drawing.draw(ax, x.ravel(), 100 * first, 0.15, color=drawing.COLORS[0], label=label, **line)
    for task in range(1, num_tasks):
        mean = values[:, task, :, :task].mean(axis=-1)
        label = "mean over old tasks" if task == 1 else "_"
        color = drawing.COLORS[1]
        drawing.draw(ax, x[task], 100 * mean, 0.15, color=color, label=label, **line)
    ax.vlines(
        range(1, num_tasks), 0, 1, "grey", "dotted", transform=ax.get_xaxis_transform(), lw=0.8
    )
    drawing.percent_axis(ax, f"{split} accuracy (%)")
    drawing.count_from(ax.xaxis, 0, num_tasks)
    ax.set_xlabel("tasks learnt, and the share of the next (dotted: a switch)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def inside_curves(
    accuracy: np.ndarray, inside: np.ndarray, progress: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tasks learnt at each evaluation `[T, E + 2]`, a task's ends included, and the accuracies there.

    Args:
        accuracy: `[S, T + 1, T]`.
        inside: `[S, T, E, T]`.
        progress: `[T, E]`; where it is NaN, the task's end is taken once more.

    Returns:
        The first is a fraction inside a task; the second `[S, T, E + 2, T]`.
    """
    is_over, ends = np.isnan(progress), np.ones((len(progress), 1))
    shares = np.concatenate([0 * ends, np.where(is_over, 1.0, progress), ends], axis=1)
    before, after = accuracy[:, :-1, None], accuracy[:, 1:, None]
    inside = np.where(is_over[..., None], after, inside)
    return np.arange(len(progress))[:, None] + shares, np.concatenate(
        [before, inside, after], axis=2
    )


def plot_rate_map(rate_mean: np.ndarray, layer_names: Sequence[str], colormap: str) -> Figure:
    """Draw each layer's mean rate over time as a narrow map.

    Args:
        rate_mean: Means over seeds `[T + 1, L]`; row 0 is the initial rate.
        layer_names: `[L]`.
        colormap: One that diverges from the middle, which stands for zero.

    Returns:
        The figure; the image in its first axes holds the rates, `[L, T + 1]`.
    """
    num_rows, num_layers = rate_mean.shape
    figure, (ax,) = drawing.subplots("", narrow=True)
    figure.set_figheight(1.6 + 0.25 * num_layers)
    limit = np.nanmax(np.abs(rate_mean))
    extent = (-0.5, num_rows - 0.5, num_layers - 0.5, -0.5)
    image = ax.imshow(
        rate_mean.T, cmap=colormap, vmin=-limit, vmax=limit, aspect="auto", extent=extent
    )
    ax.set_yticks(range(num_layers), layer_names)
    drawing.count_from(ax.xaxis, 0, num_rows - 1)
    ax.set_xlabel("after training on task (0: before training)")
    figure.colorbar(image, ax=ax, label="mean rate", location="bottom", pad=0.02)
    return figure
