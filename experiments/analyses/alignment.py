"""How far gradients of old tasks and of the new one point the same way (Appendix D, Figure 4).

Dimensions: S seeds, T tasks.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.drawing import COLORS, LINE_STYLES, subplots
from experiments.reporting.summary import title_of

LEARNERS = ("er", "c_maml", "sync_la_maml", "la_maml")
"""The paper's."""

SOURCES = {"memory": "from the memory", "held_out": "from held-out data"}
PAIRS = {"among_old": "old tasks among themselves", "against_new": "old tasks against the new one"}

PAPER_COSINES = {"er": 0.22, "c_maml": 1.84, "sync_la_maml": 2.28, "la_maml": 1.86}
"""Of old tasks against the new one, times 100, on Split CIFAR-100; from the main text, quoted from memory."""


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
                name = f"{what}_{pairs}_{source}"
                of_tasks = results[name][whole, 1:last].astype(np.float64)
                counts = ~np.isnan(of_tasks)
                of_seeds = np.where(counts, of_tasks, 0).sum(axis=1) / np.maximum(
                    counts.sum(axis=1), 1
                )
                found[name] = (float(of_seeds.mean()), float(of_seeds.std()))
    return found


def table(
    numbers: Mapping[str, Mapping[str, tuple[float, float]]], what: str, factor: float
) -> list[list[str]]:
    """Return what `means` found of several learners, times a factor, as a table.

    Args:
        numbers: By learner.
        what: "cosine" or "dot".
        factor: Of all numbers.
    """
    columns = [(pairs, source) for source in SOURCES for pairs in PAIRS]
    rows = [["learner", *(f"{PAIRS[pairs]}, {SOURCES[source]}" for pairs, source in columns)]]
    for learner, of in numbers.items():
        cells = (of[f"{what}_{pairs}_{source}"] for pairs, source in columns)
        texts = (f"{factor * mean:.3g} ± {factor * std:.2g}" for mean, std in cells)
        rows.append([title_of(learner), *texts])
    return rows


def plot(runs: Mapping[str, Mapping[str, np.ndarray]], what: str, title: str) -> Figure:
    """Draw the alignment as every task arrives, a panel for each pair of source and kind of pairs.

    Args:
        runs: By label the results of a run with the probe "alignment".
        what: "cosine" or "dot".
        title: Stands above the picture.

    Returns:
        The figure, with means over seeds as lines and one standard deviation as bands.
    """
    figure, panels = subplots(title, (15.0, 4.2), 4)
    shown = [(source, pairs) for source in SOURCES for pairs in PAIRS]
    for ax, (source, pairs) in zip(panels, shown, strict=True):
        for i, (label, results) in enumerate(runs.items()):
            values = results[f"{what}_{pairs}_{source}"][~results["diverged"]]
            tasks = np.arange(1, values.shape[1] + 1)
            first = 1 if pairs == "against_new" else 2
            mean, std = values[:, first:].mean(axis=0), values[:, first:].std(axis=0)
            style: dict[str, Any] = {"color": COLORS[i], "linestyle": LINE_STYLES[i % 4]}
            ax.plot(tasks[first:], mean, linewidth=2, label=label, **style)
            ax.fill_between(
                tasks[first:], mean - std, mean + std, color=COLORS[i], alpha=0.15, linewidth=0
            )
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_title(f"{PAIRS[pairs]},\n{SOURCES[source]}", fontsize="medium")
        ax.set_xlabel("as task arrives")
        ax.grid(axis="y", color="lightgrey", linewidth=0.6)
    name = (
        "cosine of the angle between gradients"
        if what == "cosine"
        else "inner product of gradients"
    )
    panels[0].set_ylabel(f"mean {name}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    return figure
