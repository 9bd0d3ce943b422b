"""How far gradients of old tasks and of the new one point the same way (Appendix D, Figure 4).

Dimensions: S seeds, T tasks.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.analyses.folder import About, Part
from experiments.reporting.drawing import COLORS, LINE_STYLES, count_from, draw, subplots
from experiments.reporting.summary import title_of
from experiments.runs import workdirs

LEARNERS = ("er", "c_maml", "sync_la_maml", "la_maml")
"""The paper's."""

SOURCES = {"memory": "from the memory", "held_out": "from held-out data"}
PAIRS = {"among_old": "old tasks among themselves", "against_new": "old tasks against the new one"}
PANELS = [(source, pairs) for source in SOURCES for pairs in PAIRS]

LAST = 11
"""The paper's last task."""

PAPER_COSINES = {"er": 0.22, "c_maml": 1.84, "sync_la_maml": 2.28, "la_maml": 1.86}
"""Of old tasks against the new one, times 100, on Split CIFAR-100; from the main text, quoted from memory."""


def numbers(
    runs: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return what `means` finds of every learner's run, up to the paper's last task."""
    return {learner: means(results, _last(runs)) for learner, results in runs.items()}


def means(results: Mapping[str, np.ndarray], last: int) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation over seeds of the mean over tasks 2 to `last`, of all that was measured.

    Args:
        results: Of a run with the probe "alignment", arrays `[S, T]`.
        last: The last task that counts, from 1.

    Returns:
        By names such as "cosine_against_new_memory"; seeds that diverged are left out.
    """
    whole = ~results["diverged"]
    found = {}
    for source in SOURCES:
        for what in ("cosine", "dot"):
            for pairs in PAIRS:
                name = _name(what, source, pairs)
                of_tasks = results[name][whole, 1:last].astype(np.float64)
                counts = ~np.isnan(of_tasks)
                of_seeds = np.where(counts, of_tasks, 0).sum(axis=1) / np.maximum(
                    counts.sum(axis=1), 1
                )
                found[name] = (float(of_seeds.mean()), float(of_seeds.std()))
    return found


def table(
    measured: Mapping[str, Mapping[str, tuple[float, float]]], what: str, factor: float
) -> list[list[str]]:
    """Return what `means` found of several learners, times a factor, as a table.

    Args:
        measured: By learner.
        what: "cosine" or "dot".
        factor: Of all numbers.
    """
    rows = [["learner", *(heading(*pair) for pair in PANELS)]]
    for learner, of in measured.items():
        cells = (of[_name(what, *pair)] for pair in PANELS)
        texts = (f"{factor * mean:.3g} ± {factor * std:.2g}" for mean, std in cells)
        rows.append([title_of(learner), *texts])
    return rows


def parts(runs: Mapping[str, Mapping[str, np.ndarray]]) -> list[Part]:
    """Return cosines and inner products with their pictures.

    Args:
        runs: By learner the results of a run with the probe "alignment".
    """
    last, measured = _last(runs), numbers(runs)
    titles = {"cosine": "Cosines of gradients", "dot": "Inner products of gradients"}
    found = []
    for what, title in titles.items():
        factor, times = (100, ", times 100") if what == "cosine" else (1, "")
        found.append(
            Part(
                f"alignment_{what}",
                title,
                f"Means over tasks 2 to {last}{times}, mean ± standard deviation over seeds.",
                table(measured, what, factor),
                functools.partial(plot, runs, what),
                ("learner", "seed", "task", *(heading(*pair) for pair in PANELS)),
                list(_rows(runs, what)),
            )
        )
    return found


def read(root: pathlib.Path, about: About) -> list[Part]:
    """Return the parts of a finished analysis in its folder."""
    return parts({name: workdirs.read_results(root / name) for name in about.learners})


def heading(source: str, pairs: str) -> str:
    """Return what a pair of source and kind of pairs is called."""
    return f"{PAIRS[pairs]}, {SOURCES[source]}"


def plot(
    runs: Mapping[str, Mapping[str, np.ndarray]], what: str, title: str, *, narrow: bool = False
) -> Figure:
    """Draw the alignment as every task arrives, a panel for each pair of source and kind of pairs.

    Args:
        runs: By learner the results of a run with the probe "alignment".
        what: "cosine" or "dot".
        title: Stands above the picture.
        narrow: For a phone.

    Returns:
        The figure, with means over seeds as lines and one standard deviation as bands.
    """
    figure, panels = subplots(title, (9.6, 7.4), 4, narrow=narrow, rows=2)
    for ax, (source, pairs) in zip(panels, PANELS, strict=True):
        first = 2 if pairs == "against_new" else 3  # tasks, from 1
        for i, (learner, results) in enumerate(runs.items()):
            values = results[_name(what, source, pairs)][~results["diverged"], first - 1 :]
            tasks = np.arange(first, first + values.shape[1])
            style: dict[str, Any] = {"color": COLORS[i], "linestyle": LINE_STYLES[i % 4]}
            draw(ax, tasks, values, 0.15, linewidth=2, label=title_of(learner), **style)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_title(heading(source, pairs).replace(", ", ",\n"), fontsize="medium")
        ax.set_xlabel("as task arrives")
        count_from(ax.xaxis, first, max(first, int(tasks[-1])))
        ax.grid(axis="y", color="lightgrey", linewidth=0.6)
    name = "cosine of the angle between" if what == "cosine" else "inner product of"
    figure.supylabel(f"mean {name} gradients", fontsize="medium")
    handles, labels = panels[0].get_legend_handles_labels()
    columns = 2 if narrow else 6
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _last(runs: Mapping[str, Mapping[str, np.ndarray]]) -> int:
    return min(LAST, *(results["accuracy"].shape[2] for results in runs.values()))


def _name(what: str, source: str, pairs: str) -> str:
    return f"{what}_{pairs}_{source}"


def _rows(
    runs: Mapping[str, Mapping[str, np.ndarray]], what: str
) -> Iterator[tuple[str | float, ...]]:
    """Yield what is drawn, a row per learner, seed and task from the second."""
    for learner, results in runs.items():
        whole = ~results["diverged"]
        arrays = [results[_name(what, *pair)][whole].astype(np.float64) for pair in PANELS]
        for s, seed in enumerate(results["seeds"][whole].tolist()):
            for t in range(1, arrays[0].shape[1]):
                yield (title_of(learner), seed, t + 1, *(float(array[s, t]) for array in arrays))
