"""Retained accuracy against what training costs (Appendix F, Figure 7)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.drawing import COLORS, MARKERS, subplots
from experiments.reporting.summary import title_of
from experiments.sweeps.results import Sweep

LEARNERS = ("er", "icarl", "gem", "agem", "c_maml", "la_maml")
"""The paper's."""


class Curve(NamedTuple):
    """One learner, a point per number of passes over the data, P points.

    Attributes:
        sweep: What was measured.
        gradients: Example-gradients of a run `[P]`.
    """

    sweep: Sweep
    gradients: np.ndarray


def table(curves: Mapping[str, Curve]) -> list[list[str]]:
    """Return a row per learner and point: RA in percent, seconds and example-gradients per run."""
    name = next(iter(curves.values())).sweep.axes[0].name
    rows = [["learner", name, "RA", "train seconds", "compile seconds", "example-gradients"]]
    for learner, (sweep, gradients) in curves.items():
        for p, (value,) in enumerate(sweep.points):
            seconds = f"{sweep.train_seconds[p]:.2f}", f"{sweep.compile_seconds[p]:.1f}"
            rows.append(
                [title_of(learner), value, sweep.cell("ra", p), *seconds, str(gradients[p])]
            )
    return rows


def plot(curves: Mapping[str, Curve], title: str) -> Figure:
    """Draw RA against training seconds and against example-gradients, a line per learner; bands are over seeds."""
    figure, panels = subplots(title, (11.0, 4.6), 2)
    for i, (learner, (sweep, gradients)) in enumerate(curves.items()):
        ra = sweep.values["ra"]
        mean, std = ra.mean(axis=1), ra.std(axis=1)
        style: dict[str, Any] = {"color": COLORS[i], "marker": MARKERS[i % len(MARKERS)]}
        for ax, cost in zip(panels, (sweep.train_seconds, gradients), strict=True):
            order = np.argsort(cost)
            x, y, spread = cost[order], mean[order], std[order]
            ax.plot(x, y, linewidth=2, label=title_of(learner), **style)
            ax.fill_between(x, y - spread, y + spread, color=COLORS[i], alpha=0.15, linewidth=0)
    for ax, label in zip(panels, ("training seconds per seed", "example-gradients"), strict=True):
        ax.set_xscale("log")
        ax.set_xlabel(label)
        ax.set_ylabel("retained accuracy RA (%)")
        ax.grid(color="lightgrey", linewidth=0.6)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    return figure
