"""Retained accuracy against what training costs (Appendix F, Figure 7)."""

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.analyses.folder import About, Part
from experiments.reporting.drawing import COLORS, MARKERS, subplots
from experiments.reporting.summary import title_of
from experiments.runs import catalogue
from experiments.sweeps.results import Sweep, load

LEARNERS = ("er", "icarl", "gem", "agem", "c_maml", "la_maml")
"""The paper's."""

FILE = "time_accuracy.json"
"""What `costs` returned, in the folder of the analysis."""


class Curve(NamedTuple):
    """One learner, a point per number of passes over the data, P points.

    Attributes:
        sweep: What was measured.
        gradients: Example-gradients of a run `[P]`, None where they are not known.
    """

    sweep: Sweep
    gradients: Sequence[int | None]


def table(curves: Mapping[str, Curve]) -> list[list[str]]:
    """Return a row per learner and point: RA in percent, seconds and example-gradients per run."""
    name = next(iter(curves.values())).sweep.axes[0].name
    rows = [["learner", name, "RA", "train seconds", "compile seconds", "example-gradients"]]
    for learner, (sweep, gradients) in curves.items():
        for p, (value,) in enumerate(sweep.points):
            seconds = f"{sweep.train_seconds[p]:.2f}", f"{sweep.compile_seconds[p]:.1f}"
            count = "–" if gradients[p] is None else str(gradients[p])
            rows.append([title_of(learner), value, sweep.cell("ra", p), *seconds, count])
    return rows


def costs(curves: Mapping[str, Curve]) -> dict[str, dict[str, list[Any]]]:
    """Return what the files of the sweeps do not hold, by learner and then by attribute, a number per point."""
    return {
        learner: {
            "train_seconds": sweep.train_seconds.tolist(),
            "compile_seconds": sweep.compile_seconds.tolist(),
            "gradients": list(gradients),
        }
        for learner, (sweep, gradients) in curves.items()
    }


def parts(curves: Mapping[str, Curve], left_out: Sequence[str] = ()) -> list[Part]:
    """Return the curves with their picture.

    Args:
        curves: By learner.
        left_out: Learners that are not there, as they need to know the task at test.
    """
    passes = next(iter(curves.values())).sweep.axes[0].name
    uncounted = [name for name, curve in curves.items() if None in curve.gradients]
    remarks = {
        "Left out, as they need to know the task at test (--heads=per_task)": left_out,
        "Not known here, so that their example-gradients are not counted": uncounted,
    }
    part = Part(
        "time_accuracy",
        "Accuracy against cost",
        f"RA in percent, mean ± standard deviation over seeds, for several numbers of {passes}; costs of one run.",
        table(curves),
        functools.partial(plot, curves),
        ("learner", passes, "seed", "RA", "train seconds", "example-gradients"),
        [
            (title_of(learner), value, seed, float(ra), float(seconds), gradients)
            for learner, (sweep, of_points) in curves.items()
            for (value,), of_seeds, seconds, gradients in zip(
                sweep.points, sweep.values["ra"], sweep.train_seconds, of_points, strict=True
            )
            for seed, ra in zip(sweep.seeds, of_seeds, strict=True)
        ],
        [f"{why}: {', '.join(map(title_of, of))}" for why, of in remarks.items() if of],
    )
    return [part]


def read(root: pathlib.Path, about: About) -> list[Part]:
    """Return the parts of a finished analysis in its folder."""
    found, curves = json.loads((root / FILE).read_bytes()), {}
    for learner in about.learners:
        sweep, of = load(root / catalogue.short(learner))[0], found[learner]
        train, compiling = (np.array(of[f"{name}_seconds"], float) for name in ("train", "compile"))
        sweep = sweep._replace(train_seconds=train, compile_seconds=compiling)
        counts = [None if count is None else int(count) for count in of["gradients"]]
        curves[learner] = Curve(sweep, counts)
    return parts(curves, about.options["left_out"])


def plot(curves: Mapping[str, Curve], title: str, *, narrow: bool = False) -> Figure:
    """Draw RA against training seconds and against example-gradients, a line per learner; bands are over seeds."""
    figure, panels = subplots(title, (11.0, 4.6), 2, narrow=narrow)
    known = [*LEARNERS, *(name for name in curves if name not in LEARNERS)]
    for learner, (sweep, gradients) in curves.items():
        i = known.index(learner)  # so that a learner looks the same whichever others are there
        ra = sweep.values["ra"]
        mean, std = ra.mean(axis=1), ra.std(axis=1)
        color = COLORS[i % len(COLORS)]
        style: dict[str, Any] = {"color": color, "marker": MARKERS[i % len(MARKERS)]}
        counted = [] if None in gradients else [np.array(gradients)]
        for ax, cost in zip(panels, [sweep.train_seconds, *counted], strict=False):
            order = np.argsort(cost)
            x, y, spread = cost[order], mean[order], std[order]
            ax.plot(x, y, linewidth=2, label=title_of(learner), **style)
            ax.fill_between(x, y - spread, y + spread, color=color, alpha=0.15, linewidth=0)
    labels = ("training seconds per run", "example-gradients per run")
    for ax, label in zip(panels, labels, strict=True):
        ax.set_xscale("log")
        ax.set_xlabel(label)
        ax.set_ylabel("retained accuracy RA (%)")
        ax.grid(color="lightgrey", linewidth=0.6)
    handles, names = panels[0].get_legend_handles_labels()
    columns = 3 if narrow else 6
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)
    return figure
