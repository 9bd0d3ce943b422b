"""What a run has measured on request, as pictures: accuracy inside tasks.

Dimensions: T tasks, E evaluations inside a task.
"""

from collections.abc import Iterator

import numpy as np

from experiments.reporting import drawing, figures
from experiments.reporting.page.blocks import Block, Picture, anchor, picture
from experiments.reporting.page.reading import Run


def look(run: Run) -> Iterator[Block]:
    """Return the picture of accuracies inside tasks, where a run has measured them."""
    if run.inside is not None:
        yield _accuracy(run, run.inside)


def _accuracy(run: Run, inside: np.ndarray) -> Picture:
    progress = run.results["inside_batches"] / run.results["loss"].shape[-1]
    x, values = figures.inside_curves(run.accuracy, inside, progress)
    mean, std = drawing.over_seeds(100 * values)
    tasks = [f"task {i + 1}" for i in range(mean.shape[-1])]
    gap = run.summary.get("stability_gap_mean")
    return picture(
        figures.plot_inside_tasks(run.accuracy, inside, progress, "", narrow=True),
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
