"""Picture files of runs, drawn from what is safe on disk, in a style of our own.

Import this where an error may be no more than a warning: what matplotlib finds in its surroundings can fail its import.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from experiments.process import console
from experiments.reporting import comparison, dynamics_figures, figures
from experiments.reporting.summary import paper_values, title_of
from experiments.runs import workdirs
from lamaml_jax.files import write_whole


def draw_run(
    directory: pathlib.Path,
    results: Mapping[str, np.ndarray],
    title: str,
    dynamics: Mapping[str, np.ndarray] | None = None,
    *,
    split: str = "test",
) -> list[pathlib.Path]:
    """Write the pictures of one run as PNG files, but for those that are there; leave diverged seeds out.

    One that cannot be drawn, or where others have a picture of that name, costs a warning.

    Args:
        directory: Where to write; made if it is not there.
        results: The arrays of `results.npz`: `accuracy`, `diverged`, and for learners with
            learnable rates `rate_mean`, `rate_share_nonpositive` and `layer_names`, and of evaluations
            inside tasks `inside_accuracy` and `inside_progress`.
        title: Stands above each picture.
        dynamics: The arrays of `dynamics.npz`, as far as there are any.
        split: The data that accuracies are on, "test" or "validation".

    Returns:
        The paths of accuracy_matrix.png, task_accuracy.png and, where there is something to show,
        learning_rates.png, inside_tasks.png, dynamics.png and rate_histogram.png, as far as they are
        drawn; none if all seeds diverged.
    """
    whole = ~np.asarray(results["diverged"], dtype=bool)
    if not whole.any():
        return []
    accuracy = results["accuracy"][whole]
    plots: dict[str, Callable[[], Figure]] = {
        "accuracy_matrix.png": lambda: figures.plot_accuracy_matrix(accuracy, title, split=split),
        "task_accuracy.png": lambda: figures.plot_task_accuracies(accuracy, title, split=split),
    }
    if "rate_mean" in results:
        mean, share = results["rate_mean"][whole], results["rate_share_nonpositive"][whole]
        names = results["layer_names"]
        plots["learning_rates.png"] = lambda: figures.plot_learning_rates(mean, share, names, title)
    if "inside_progress" in results:
        inside, progress = results["inside_accuracy"][whole], results["inside_progress"]
        plots["inside_tasks.png"] = lambda: figures.plot_inside_tasks(
            accuracy, inside, progress, title, split=split
        )
    plots |= _of_dynamics(dynamics or {}, whole, title)
    directory.mkdir(parents=True, exist_ok=True)
    drawn = (_draw(directory / name, plot, anew=False) for name, plot in plots.items())
    return [path for paths in drawn for path in paths]


def _of_dynamics(
    dynamics: Mapping[str, np.ndarray], whole: np.ndarray, title: str
) -> dict[str, Callable[[], Figure]]:
    plots: dict[str, Callable[[], Figure]] = {}
    if "gradient_cosine" in dynamics:
        cosine, losses = dynamics["gradient_cosine"][whole], dynamics.get("meta_loss")
        losses = None if losses is None else losses[whole]
        plots["dynamics.png"] = lambda: dynamics_figures.plot_dynamics(cosine, losses, title)
    if "rate_histogram" in dynamics:
        edges, names = dynamics["rate_edges"], dynamics["layer_names"]
        shares = dynamics["rate_histogram"][whole]
        plots["rate_histogram.png"] = lambda: dynamics_figures.plot_rate_histograms(
            shares, edges, names, title
        )
    return plots


def draw_comparison(
    root: pathlib.Path,
    folders: Sequence[pathlib.Path],
    summaries: Sequence[Mapping[str, Any]],
    *,
    split: str = "test",
) -> list[pathlib.Path]:
    """Draw the learners of several finished runs into comparison.png, the paper's values as markers.

    Args:
        root: Where to write.
        folders: The runs'.
        summaries: The runs'.
        split: The data that all accuracies are on, "test" or "validation".

    Returns:
        Its path; none if all seeds of all learners diverged, or with a warning if it cannot be drawn.
    """
    accuracies, paper = {}, {}
    for folder, summary in zip(folders, summaries, strict=True):
        results = workdirs.read_results(folder)
        title = title_of(summary["learner"])
        if not results["diverged"].all():
            accuracies[title] = results["accuracy"][~results["diverged"]]
        paper[title] = paper_values(summary)
    if not accuracies:
        return []
    ra, bti = (
        {title: values[name] for title, values in paper.items() if name in values}
        for name in ("ra_mean", "bti_mean")
    )
    return draw_anew(
        root / "comparison.png",
        lambda: comparison.plot_comparison(
            accuracies, summaries[0]["benchmark"], ra, bti, split=split
        ),
    )


def draw_anew(path: pathlib.Path, plot: Callable[[], Figure]) -> list[pathlib.Path]:
    """Draw one picture in the place of an older one of ours, and return its path, or nothing and warn."""
    return _draw(path, plot, anew=True)


def _draw(path: pathlib.Path, plot: Callable[[], Figure], *, anew: bool) -> list[pathlib.Path]:
    """Return the path of a picture, drawn if it is not there or `anew`, or nothing and warn."""
    drawn = []
    with console.only_warned(f"{path} is not drawn"):
        exists = path.exists()
        if exists and not workdirs.is_our_picture(path):
            raise FileExistsError("it is a picture of others, which stays")
        if anew or not exists:
            # Fonts and LaTeX are looked up when a figure is made, and again when it is saved.
            with matplotlib.style.context("default"), write_whole(path) as file:
                plot().savefig(file, format="png", metadata=workdirs.PICTURE_MARK)
        drawn.append(path)
    return drawn
