"""What a run has measured on request, as pictures: accuracy inside tasks, and how it learns.

Dimensions: T tasks, E evaluations inside a task, K inner steps.
"""

from collections.abc import Iterator

import numpy as np

from experiments.reporting import drawing, dynamics_figures, figures
from experiments.reporting.page.blocks import Block, Picture, anchor, picture
from experiments.reporting.page.run import Run
from experiments.runs import dynamics


def look(run: Run) -> Iterator[Block]:
    """Return the pictures of what a run has measured."""
    if run.inside is not None and run.progress is not None:
        yield _accuracy(run, run.inside, run.progress)
    whole = ~run.results["diverged"]
    measured = {n: array[whole] for n, array in run.dynamics.items() if n in dynamics.OF_RUNS}
    if "gradient_cosine" in measured:
        yield _updates(run, measured["gradient_cosine"], measured.get("meta_loss"))
    if "rate_histogram" in measured:
        yield _histograms(run, measured["rate_histogram"])


def _accuracy(run: Run, inside: np.ndarray, progress: np.ndarray) -> Picture:
    x, values = figures.inside_curves(run.accuracy, inside, progress)
    mean, std = drawing.over_seeds(100 * values)
    tasks = [f"task {i + 1}" for i in range(mean.shape[-1])]
    gap = run.summary.get("stability_gap_mean")
    return picture(
        figures.plot_inside_tasks(run.accuracy, inside, progress, "", split=run.split, narrow=True),
        anchor(run.label, "inside"),
        "Accuracy inside tasks",
        f"{run.label}: the first task's accuracy, and the mean over old tasks, at {len(progress)} evaluations inside "
        f"each task; the stability gap is {'undefined' if gap is None else f'{gap:.1f} points'}.",
        ("tasks learnt", *tasks, *(f"{task} std" for task in tasks)),
        (
            (at, *mean[row, place], *std[row, place])
            for row, ats in enumerate(x.tolist())
            for place, at in enumerate(ats)
        ),
    )


def _updates(run: Run, cosine: np.ndarray, meta_loss: np.ndarray | None) -> Picture:
    losses = np.zeros((*cosine.shape, 0)) if meta_loss is None else meta_loss
    (mean, std), (loss, loss_std) = map(drawing.over_seeds, (cosine, losses))
    steps = range(losses.shape[2])
    return picture(
        dynamics_figures.plot_dynamics(cosine, meta_loss, "", narrow=True),
        anchor(run.label, "dynamics"),
        "Updates as each task arrives",
        f"{run.label}: the cosine between the gradients of incoming batches and of the memory as each task arrives"
        + (", and the meta-loss after each inner step." if steps else "."),
        (
            *("task", "cosine", "its std"),
            *(f"meta-loss at {k}" for k in steps),
            *(f"meta-loss at {k} std" for k in steps),
        ),
        (
            (task + 1, mean[task], std[task], *loss[task], *loss_std[task])
            for task in range(len(mean))
        ),
    )


def _histograms(run: Run, shares: np.ndarray) -> Picture:
    edges, names = run.dynamics["rate_edges"], [str(n) for n in run.dynamics["layer_names"]]
    mean, _ = drawing.over_seeds(100 * shares)
    return picture(
        dynamics_figures.plot_rate_histograms(shares, edges, names, "", narrow=True),
        anchor(run.label, "histograms"),
        "Histograms of learnt rates",
        f"{run.label}: how the rates of each layer are spread after each task, over all seeds; the CSV file has "
        "a row for each bin that is not empty.",
        ("after task", "layer", "above", "up to", "rates %"),
        (
            (row, name, float(edges[place]), float(edges[place + 1]), mean[row, layer, place])
            for row in range(len(mean))
            for layer, name in enumerate(names)
            for place in np.flatnonzero(np.nan_to_num(mean[row, layer]))
        ),
    )
