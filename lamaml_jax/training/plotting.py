"""The picture of a result."""

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lamaml_jax.training.tabulating import shown

if TYPE_CHECKING:
    from lamaml_jax.training.result import Result


def plot_progress(result: "Result") -> Figure:
    """Return a figure of the mean over the tasks learnt so far, after each of them: a line and band per point.

    Runs that diverged are left out, as in the table.
    """
    runs = result.plan.runs
    of_classes = "accuracy" in result.record
    values = 100 * result.accuracy if of_classes else result.eval_loss
    values = values.reshape(len(runs.points), len(runs.seeds), *values.shape[1:])
    diverged = result.diverged.reshape(values.shape[:2])
    stages = np.arange(1, values.shape[2])
    tasks = result.plan.tasks()
    figure = _Shown(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for point, all_runs, lost in zip(runs.points, values, diverged, strict=True):
        of_point = all_runs[~lost]
        columns = [list(result.plan.all_tasks() if tasks is None else tasks[:s]) for s in stages]
        seen = np.stack(
            [of_point[:, s][:, of].mean(axis=1) for s, of in zip(stages, columns, strict=True)],
            axis=1,
        )
        # NaN, where not all tasks learnt so far were evaluated, leaves a gap in the line.
        mean, deviation = np.full((2, len(stages)), np.nan)
        if len(of_point):
            with np.errstate(invalid="ignore"):  # mean losses that overflowed
                mean, deviation = seen.mean(axis=0), seen.std(axis=0)
        label = ", ".join(f"{name} = {shown(value)}" for name, value in point.items())
        (line,) = axes.plot(stages, mean, marker="o", markersize=3, label=label)
        axes.fill_between(
            stages, mean - deviation, mean + deviation, alpha=0.2, color=line.get_color()
        )
    axes.set_xlabel("stages learnt" if tasks is None else "tasks learnt")
    of = "all tasks" if tasks is None else "the tasks learnt so far"
    axes.set_ylabel(f"accuracy on {of} (%)" if of_classes else f"mean loss on {of}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(runs.points) > 1:
        axes.legend(fontsize="small")
    return figure


class _Shown(Figure):
    """A figure that a notebook shows, with pyplot's backend or without."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()
