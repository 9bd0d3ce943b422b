"""Retained accuracy against what training costs (Appendix F, Figure 7)."""

import csv
import io
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.drawing import COLORS, MARKERS, subplots
from experiments.reporting.summary import TITLES
from experiments.sweeps.results import Sweep
from lamaml_jax.files import write_whole

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


def rows(curves: Mapping[str, Curve]) -> list[dict[str, Any]]:
    """Return a row per learner and point: RA in percent, seconds per run and example-gradients."""
    found = []
    for learner, (sweep, gradients) in curves.items():
        ra = sweep.values["ra"]
        for p, (value,) in enumerate(sweep.points):
            found.append(
                {
                    "learner": learner,
                    sweep.axes[0].name: value,
                    "ra_mean": round(float(ra[p].mean()), 2),
                    "ra_std": round(float(ra[p].std()), 2),
                    "train_seconds": round(float(sweep.train_seconds[p]), 2),
                    "compile_seconds": round(float(sweep.compile_seconds[p]), 1),
                    "example_gradients": int(gradients[p]),
                }
            )
    return found


def write(path: pathlib.Path, found: list[dict[str, Any]]) -> None:
    """Write the rows as CSV."""
    text = io.StringIO(newline="")
    lines = csv.DictWriter(text, list(found[0]), lineterminator="\n")
    lines.writeheader()
    lines.writerows(found)
    with write_whole(path) as file:
        file.write(text.getvalue().encode())


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
            ax.plot(x, y, linewidth=2, label=TITLES[learner], **style)
            ax.fill_between(x, y - spread, y + spread, color=COLORS[i], alpha=0.15, linewidth=0)
    for ax, label in zip(panels, ("training seconds per seed", "example-gradients"), strict=True):
        ax.set_xscale("log")
        ax.set_xlabel(label)
        ax.set_ylabel("retained accuracy RA (%)")
        ax.grid(color="lightgrey", linewidth=0.6)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    return figure
