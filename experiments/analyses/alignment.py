"""How far gradients of old tasks and of the new one point the same way (Appendix D, Figure 4).

Dimensions: S seeds, T tasks.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from experiments.analyses.folder import About, Part
from experiments.reporting.drawing import COLORS, LINE_STYLES, count_from, draw, subplots
from experiments.reporting.summary import in_words, title_of
from experiments.runs import workdirs

LEARNERS = ("er", "c_maml", "sync_la_maml", "la_maml")
"""The paper's."""

SOURCES = {"memory": "from the memory", "held_out": "from held-out data"}
PAIRS = {"among_old": "old tasks among themselves", "against_new": "old tasks against the new one"}
PANELS = [(source, pairs) for source in SOURCES for pairs in PAIRS]

LAST = 11
"""The paper's last task."""

MeanAndSpread: TypeAlias = tuple[float | None, float | None]
"""Over seeds: no mean where nothing is defined, such as pairs of old tasks as the second arrives; no spread of one."""


def numbers(
    runs: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, MeanAndSpread]]:
    """Return what `means` finds of every learner's run, up to the paper's last task."""
    return {learner: means(results, _last(runs)) for learner, results in runs.items()}


def means(results: Mapping[str, np.ndarray], last: int) -> dict[str, MeanAndSpread]:
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
                found[name] = _over_seeds(of_tasks)
    return found


def table(
    measured: Mapping[str, Mapping[str, MeanAndSpread]], what: str, factor: float
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
        scaled = ([None if n is None else factor * n for n in cell] for cell in cells)
        texts = (in_words(mean, std, ".3g", ".2g") for mean, std in scaled)
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
        The figure, with means over seeds as lines and one standard deviation as bands; what is defined at no task, as
        pairs of old tasks are of two tasks, has no panel.
    """
    defined = [pair for pair in PANELS if _is_defined(runs, _name(what, *pair))]
    shown = defined or [("memory", "against_new")]
    rows = 2 if len(shown) > 2 else 1
    size = (9.6, 3.7 * rows)
    figure, panels = subplots(title, size, len(shown), narrow=narrow, rows=rows)
    for ax, (source, pairs) in zip(panels, shown, strict=True):
        first = 2 if pairs == "against_new" else 3  # tasks, from 1
        for learner, results in runs.items():
            i = LEARNERS.index(learner)
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


def _over_seeds(of_tasks: np.ndarray) -> MeanAndSpread:
    """Return mean and spread of the seeds' means `[S, T]` over what is defined of each."""
    of_seeds = [seed[~np.isnan(seed)].mean() for seed in of_tasks if not np.isnan(seed).all()]
    if not of_seeds:
        return None, None
    return float(np.mean(of_seeds)), float(np.std(of_seeds)) if len(of_seeds) > 1 else None


def _is_defined(runs: Mapping[str, Mapping[str, np.ndarray]], name: str) -> bool:
    return any(not np.isnan(of[name][~of["diverged"]]).all() for of in runs.values())


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
