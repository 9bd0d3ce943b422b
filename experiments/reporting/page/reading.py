"""The runs that a page reports: where they are, what they hold, and how the page calls them."""

import os
import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import presets
from experiments.reporting.summary import TITLES
from experiments.runs import diagnostics, workdirs

_MARKS = ("config.json", "summary.json", "results.npz")


class Run(NamedTuple):
    """A finished run.

    Attributes:
        folder: Its work directory.
        label: What the page calls it, unlike all others.
        description: As config.json.
        summary: As summary.json.
        results: As results.npz.
        rates: As `diagnostics.read_rates`.
    """

    folder: pathlib.Path
    label: str
    description: dict[str, Any]
    summary: dict[str, Any]
    results: dict[str, np.ndarray]
    rates: dict[str, np.ndarray]

    @property
    def settings(self) -> dict[str, Any]:
        """Its configuration."""
        return self.description["settings"]

    @property
    def accuracy(self) -> np.ndarray:
        """Fractions `[S, T + 1, T]` of the seeds that did not diverge; S may be 0."""
        return self.results["accuracy"][~self.results["diverged"]]


def find(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Return the folders of runs among `paths` and in them, each once.

    Raises:
        ValueError: One of them is no folder, or no run is there.
    """
    folders: dict[pathlib.Path, pathlib.Path] = {}
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"{str(path)!r} is not a folder; it must be one of a run, or of runs.")
        inside = [folder for folder in _walk(path) if any((folder / m).is_file() for m in _MARKS)]
        if not inside:
            raise ValueError(f"{str(path)!r} holds no run.")
        for folder in inside:
            folders.setdefault(folder.resolve(), folder)
    return list(folders.values())


def read(folders: Sequence[pathlib.Path]) -> tuple[list[Run], list[str]]:
    """Read runs of one benchmark.

    Returns:
        Those that are finished and whole, and a sentence about what is amiss with each other.

    Raises:
        ValueError: They are of different benchmarks, or none is finished and whole.
    """
    runs, problems = [], []
    for folder in folders:
        try:
            runs.append(_read(folder))
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        try:
            runs[-1] = runs[-1]._replace(rates=_read_rates(runs[-1]))
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if not runs:
        raise ValueError(f"no run can be reported. {' '.join(problems)}")
    benchmarks = list(dict.fromkeys(run.summary["benchmark"] for run in runs))
    if len(benchmarks) > 1:
        raise ValueError(
            f"the runs are of {' and '.join(benchmarks)}; a report must be of one benchmark: name its folders only."
        )
    return _labelled(runs), problems


def _walk(path: pathlib.Path) -> list[pathlib.Path]:
    return sorted(pathlib.Path(folder) for folder, _, _ in os.walk(path))


def _read(folder: pathlib.Path) -> Run:
    description = workdirs.read_description(folder)
    summary = workdirs.read_summary(folder)
    if summary is None:
        raise ValueError(f"{folder} holds a run that is not finished.")
    if summary["learner"] not in TITLES or summary["benchmark"] not in presets.PRESETS:
        raise ValueError(f"{folder / 'summary.json'} is of a run that is not known here.")
    results = workdirs.read_results(folder)
    if not _is_whole(results):
        raise ValueError(f"{folder / 'results.npz'} is damaged: arrays are missing or misshapen.")
    return Run(folder, TITLES[summary["learner"]], description, summary, results, {})


def _read_rates(run: Run) -> dict[str, np.ndarray]:
    rates = diagnostics.read_rates(run.folder)
    num_rows = run.results["accuracy"].shape[1]
    if any(array.ndim < 2 or len(array) != num_rows for array in rates.values()):
        raise ValueError(f"{run.folder / 'rates.npz'} is of another run; remove it.")
    return rates


def _is_whole(results: dict[str, np.ndarray]) -> bool:
    if not {"seeds", "accuracy", "diverged"} <= set(results):
        return False
    accuracy = results["accuracy"]
    if accuracy.ndim != 3 or accuracy.shape[1] != accuracy.shape[2] + 1 or not accuracy.shape[2]:
        return False
    num_seeds, num_rows, _ = accuracy.shape
    if results["seeds"].shape != (num_seeds,) or results["diverged"].shape != (num_seeds,):
        return False
    if results["diverged"].dtype != bool:
        return False
    if "rate_mean" not in results:
        return True
    if not {"rate_share_nonpositive", "layer_names"} <= set(results):
        return False
    shape = (num_seeds, num_rows, len(results["layer_names"]))
    return results["rate_mean"].shape == results["rate_share_nonpositive"].shape == shape


def _labelled(runs: list[Run]) -> list[Run]:
    """Return the runs by learner, with their folders in the labels of those that would be called the same."""
    order = list(TITLES)
    runs = sorted(runs, key=lambda run: order.index(run.summary["learner"]))
    count = Counter(run.label for run in runs)
    root = pathlib.Path(os.path.commonpath([run.folder.resolve() for run in runs]))
    return [
        run
        if count[run.label] == 1
        else run._replace(label=f"{run.label} ({run.folder.resolve().relative_to(root)})")
        for run in runs
    ]
