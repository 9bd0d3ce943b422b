"""What a sweep has measured: its ranking, and the files that say it.

sweep.csv has a row per point, seed and metric, ranking.csv one per point, the best first, best.json the chosen one.

Dimensions: P points, S seeds.
"""

import csv
import io
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.reporting import tables
from experiments.reporting.summary import METRICS, in_words, spread
from experiments.runs import workdirs
from experiments.sweeps.grid import Axis, Point
from experiments.sweeps.plan import Unit
from lamaml_jax.files import write_whole


class Sweep(NamedTuple):
    """What a sweep has measured.

    Attributes:
        axes: What was swept.
        points: The values at each point, in the order of the axes.
        seeds: Of every point.
        values: Every metric in percent `[P, S]`, NaN where it is undefined or the run diverged.
        diverged: bool `[P, S]`.
        train_seconds: `[P]`, per run: what training took of the program that a point was run in, shared evenly.
        compile_seconds: `[P]`, of that program.
    """

    axes: Sequence[Axis]
    points: Sequence[Point]
    seeds: Sequence[int]
    values: Mapping[str, np.ndarray]
    diverged: np.ndarray
    train_seconds: np.ndarray
    compile_seconds: np.ndarray

    def ranking(self) -> list[int]:
        """Return the points by their mean RA, the best first; those with a seed that diverged come last.

        Points that are level but for float32's rounding keep their order.
        """
        means = self.values["ra"].mean(axis=1).round(4)
        spoilt = np.atleast_1d(self.diverged.any(axis=1))
        return sorted(range(len(means)), key=lambda i: (spoilt[i], -np.nan_to_num(means[i])))

    def assignments(self, point: int) -> list[str]:
        """Return the point as `--set` takes it."""
        names = (axis.name for axis in self.axes)
        return [f"{n}={v}" for n, v in zip(names, self.points[point], strict=True)]

    def table(self) -> list[list[str]]:
        """Return the ranking, a row per point, as mean ± standard deviation over seeds, if there are several."""
        rows = [[*(axis.name for axis in self.axes), "RA", "LA", "BTI"]]
        for point in self.ranking():
            cells = (self.cell(name, point) for name in ("ra", "la", "bti"))
            rows.append([*self.points[point], *cells])
        return rows

    def cell(self, name: str, point: int) -> str:
        """Return a metric at a point, or which seeds diverged there."""
        if self.diverged[point].any():
            seeds = np.array(self.seeds)[self.diverged[point]].tolist()
            return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))} diverged"
        of_seeds = self.values[name][point]
        return in_words(of_seeds.mean(), spread(of_seeds))


def read(axes: Sequence[Axis], points: Sequence[Point], units: Sequence[Unit]) -> Sweep:
    """Return what the finished units of a sweep have measured.

    Args:
        axes: What was swept.
        points: Of the sweep.
        units: From `plan`, of all points.

    Raises:
        ValueError: A file is damaged.
    """
    seeds = units[0].config.seeds
    values = {name: np.full((len(points), len(seeds)), np.nan) for name in METRICS}
    diverged = np.zeros((len(points), len(seeds)), bool)
    train_seconds, compile_seconds = np.zeros((2, len(points)))
    for unit in units:
        results = workdirs.read_results(unit.folder)
        summary = workdirs.read_summary(unit.folder) or {}
        of, shape = list(unit.points), (len(unit.points), len(seeds))
        diverged[of] = results["diverged"].reshape(shape)
        train_seconds[of] = summary["train_seconds"] / len(unit.config.runs().each())
        compile_seconds[of] = summary["compile_seconds"]
        for name, metric in METRICS.items():
            percent = 100 * metric(results["accuracy"].astype(np.float64)).reshape(shape)
            values[name][of] = np.where(diverged[of], np.nan, percent)
    return Sweep(axes, points, seeds, values, diverged, train_seconds, compile_seconds)


def load(folder: pathlib.Path) -> tuple[Sweep, dict[str, Any]]:
    """Return what the files of a finished sweep say, and the settings that all its points share.

    Seconds are not among them, and are NaN.

    Raises:
        ValueError: A file is missing or damaged.
    """
    try:
        described = json.loads((folder / "sweep.json").read_bytes())
        axes = [Axis(**axis) for axis in described["axes"]]
        points = [tuple(point) for point in described["points"]]
        seeds = list(described["settings"]["seeds"])
        shape = len(points), len(seeds)
        values = {name: np.full(shape, np.nan) for name in METRICS}
        diverged, found = np.zeros(shape, bool), set()
        with (folder / "sweep.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                run = int(row["point"]), seeds.index(int(row["seed"]))
                values[row["metric"]][run] = float(row["value"] or math.nan)
                diverged[run] = row["diverged"] == "true"
                found.add((row["metric"], *run))
        if not axes or not points or any(len(point) != len(axes) for point in points):
            raise ValueError
        if len(found) < len(values) * diverged.size:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise ValueError(
            f"{folder} holds a sweep that is not finished, or whose sweep.json or sweep.csv is damaged; the same "
            "command goes on with it."
        ) from None
    unknown = np.full(len(points), math.nan)
    sweep = Sweep(axes, points, seeds, values, diverged, unknown, unknown)
    return sweep, described["settings"]


def write(folder: pathlib.Path, sweep: Sweep, report: Mapping[str, Any] | None = None) -> None:
    """Write sweep.csv, ranking.csv and best.json.

    Args:
        folder: The sweep's.
        sweep: What it measured.
        report: The summary of the best point's run on test data, if there is one.
    """
    with write_whole(folder / "sweep.csv") as file:
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        names = (axis.name for axis in sweep.axes)
        lines.writerow(["point", *names, "seed", "metric", "value", "diverged"])
        lines.writerows(_rows(sweep))
        file.write(text.getvalue().encode())
    tables.write(folder / "ranking.csv", sweep.table())
    best = sweep.ranking()[0]
    if sweep.diverged[best].any():
        chosen: dict[str, Any] = {"point": None, "reason": "a seed diverged at every point"}
    else:
        chosen = {
            "point": dict(zip((a.name for a in sweep.axes), sweep.points[best], strict=True)),
            "set": [f"--set={text}" for text in sweep.assignments(best)],
            "seeds": list(sweep.seeds),
        }
        for name, values in sweep.values.items():
            of_seeds = values[best]
            chosen[f"{name}_mean"] = _defined(of_seeds.mean())
            chosen[f"{name}_std"] = _defined(of_seeds.std())
        if report is not None:
            chosen["report"] = dict(report)
    workdirs.write_json(folder / "best.json", chosen)


def _rows(sweep: Sweep) -> Iterator[list[Any]]:
    for p, point in enumerate(sweep.points):
        for s, seed in enumerate(sweep.seeds):
            for name, values in sweep.values.items():
                value, diverged = values[p, s], bool(sweep.diverged[p, s])
                text = "" if math.isnan(value) else repr(float(value))
                yield [p, *point, seed, name, text, str(diverged).lower()]


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
