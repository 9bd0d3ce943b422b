"""Figures of how a run learns, drawn from the arrays of its dynamics.npz.

Dimensions: S seeds, T tasks, L layers, N bins, K inner steps. A `narrow` figure has the width of a phone, and its
panels one below the other.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from experiments.reporting import drawing

_SHOWN = 5
"""Tasks whose meta-losses are shown."""


def plot_dynamics(
    gradient_cosine: np.ndarray, meta_loss: np.ndarray | None, title: str, *, narrow: bool = False
) -> Figure:
    """Draw the cosine of incoming and remembered gradients as tasks arrive, and the meta-loss along the look-ahead.

    Args:
        gradient_cosine: `[S, T]`.
        meta_loss: `[S, T, K + 1]`, or None of a learner that does not look ahead.
        title: Stands above the picture.
        narrow: See the module.

    Returns:
        The figure; its first axes hold the cosine, its second a line for each of up to five tasks.
    """
    num_tasks = gradient_cosine.shape[1]
    panels = 1 if meta_loss is None else 2
    figure, (left, *others) = drawing.subplots(title, (5.5 * panels, 4.2), panels, narrow=narrow)
    tasks = np.arange(2, num_tasks + 1)  # the first finds nothing remembered
    drawing.draw(left, tasks, gradient_cosine[:, 1:], 0.15, color=drawing.COLORS[0])
    left.axhline(0, color="grey", linewidth=0.8)
    left.grid(axis="y", color="lightgrey", linewidth=0.6)
    drawing.count_from(left.xaxis, 1, num_tasks)
    left.set_xlabel("task that arrives")
    left.set_ylabel("cosine of incoming and memory gradient")
    if meta_loss is None:
        return figure
    (right,) = others
    shown = np.unique(np.linspace(0, num_tasks - 1, min(num_tasks, _SHOWN)).round().astype(int))
    colors = drawing.shades(len(shown), narrow=narrow)
    steps = np.arange(meta_loss.shape[2])
    for task, color in zip(shown, colors, strict=True):
        line = {"color": color, "marker": "o", "markersize": 3.5, "label": f"task {task + 1}"}
        drawing.draw(right, steps, meta_loss[:, task], 0.15, **line)
    right.grid(axis="y", color="lightgrey", linewidth=0.6)
    drawing.count_from(right.xaxis, 0, len(steps) - 1)
    right.set_xlabel("after inner steps k")
    right.set_ylabel("meta-loss at θ_k as the task arrives")
    right.legend(edgecolor="none")
    return figure


def plot_rate_histograms(
    rate_histogram: np.ndarray,
    rate_edges: np.ndarray,
    layer_names: Sequence[str] | np.ndarray,
    title: str,
    *,
    narrow: bool = False,
) -> Figure:
    """Draw for each layer how its rates are spread after each task, all seeds together.

    Args:
        rate_histogram: Shares `[S, T + 1, L, N]`.
        rate_edges: `[N + 1]`, among them zero.
        layer_names: `[L]`.
        title: Stands above the picture.
        narrow: See the module.

    Returns:
        The figure; the image in the axes of each layer holds the shares in percent, `[N', T + 1]`, of the bins from the
        lowest to the highest that is used by any layer.
    """
    mean, _ = drawing.over_seeds(100 * rate_histogram)
    used = np.flatnonzero(np.nan_to_num(mean).any(axis=(0, 1)))
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, mean.shape[2] - 1)
    num_rows, num_layers = mean.shape[:2]
    width = 2.0 + 2.3 * num_layers
    figure, axes = drawing.subplots(title, (width, 4.5), num_layers, narrow=narrow)
    ticks = _ticks(rate_edges, first, last)
    extent = (-0.5, num_rows - 0.5, first, last + 1)
    for layer, ax in enumerate(axes):
        image = ax.imshow(
            mean[:, layer, first : last + 1].T,
            cmap=matplotlib.colormaps["viridis"].with_extremes(bad="lightgrey"),
            norm=PowerNorm(0.5, 0, np.nanmax(mean) if np.isfinite(mean).any() else 1.0),
            origin="lower",
            aspect="auto",
            extent=extent,
        )
        ax.set_title(str(layer_names[layer]), fontsize="medium")
        ax.set_yticks(list(ticks), list(ticks.values()) if layer == 0 or narrow else [])
        drawing.count_from(ax.xaxis, 0, num_rows - 1)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("learning rate α")
    figure.supxlabel("after training on task (0: before training)", fontsize="medium")
    figure.colorbar(image, ax=axes, label="rates in the bin (%)", pad=0.02)
    return figure


def _ticks(edges: np.ndarray, first: int, last: int) -> dict[int, str]:
    """Return the edges of bins that are zero or a power of ten and not beside it, with their names."""
    shown = {}
    for place in range(first, last + 2):
        size = abs(edges[place])
        if size == 0 or (1e-3 <= size < np.inf and np.isclose(np.log10(size) % 1, (0, 1)).any()):
            shown[place] = f"{edges[place]:g}"
    return shown
