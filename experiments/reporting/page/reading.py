"""The runs, sweeps and analyses that a page reports: where they are, what they hold, and how the page calls them."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import presets
from experiments.analyses import folder as analysis_folder
from experiments.analyses import reading as analyses
from experiments.analyses.folder import About, Part
from experiments.cluster import units
from experiments.reporting.page.labels import labelled
from experiments.reporting.page.run import Run
from experiments.reporting.page.wholeness import is_whole
from experiments.reporting.summary import TITLES, title_of
from experiments.runs import catalogue, diagnostics, dynamics, workdirs
from experiments.sweeps import results
from experiments.sweeps.results import Sweep
from lamaml_jax.training.saving import CHECKPOINTS

_SWEEP = "sweep.json"
_MARKS = ("config.json", "summary.json", "results.npz", _SWEEP, analysis_folder.FILE)


class SweepFound(NamedTuple):
    """A finished sweep.

    Attributes:
        folder: Its work directory.
        label: What the page calls it.
        sweep: What it measured.
        settings: What all its points share.
    """

    folder: pathlib.Path
    label: str
    sweep: Sweep
    settings: dict[str, Any]


class AnalysisFound(NamedTuple):
    """A finished analysis.

    Attributes:
        folder: Its work directory.
        label: What the page calls it.
        about: What it is of.
        parts: What it shows.
    """

    folder: pathlib.Path
    label: str
    about: About
    parts: list[Part]


class Found(NamedTuple):
    """What a page is of; there is at least one run, sweep or analysis, and all are of one benchmark.

    Attributes:
        runs: By learner.
        sweeps: In the order of their folders.
        problems: Sentences about what is not shown, or not in full.
        analyses: In the order of their folders.
    """

    runs: list[Run]
    sweeps: list[SweepFound]
    problems: list[str]
    analyses: Sequence[AnalysisFound] = ()

    @property
    def benchmark(self) -> str:
        """The name of the benchmark."""
        return self.benchmarks[0]

    @property
    def benchmarks(self) -> list[str]:
        """The names of all benchmarks, each once."""
        names = [run.summary["benchmark"] for run in self.runs]
        names += [sweep.settings["benchmark"] for sweep in self.sweeps]
        return list(dict.fromkeys([*names, *(of.about.benchmark for of in self.analyses)]))

    @property
    def counts(self) -> str:
        """How many there are of each kind, in words."""
        counts = [len(of) for of in (self.runs, self.sweeps, self.analyses)]
        words = (("run", "runs"), ("sweep", "sweeps"), ("analysis", "analyses"))
        kinds = zip(counts, words, strict=True)
        return ", ".join(f"{n} {word[n != 1]}" for n, word in kinds if n or word[0] == "run")

    @property
    def learners(self) -> list[str]:
        """The titles of all learners, each once."""
        known = [run.summary["learner"] for run in self.runs]
        known += [sweep.settings["learner"] for sweep in self.sweeps]
        known += [learner for of in self.analyses for learner in of.about.learners]
        return [title_of(learner) for learner in sorted(set(known), key=_place)]


def find(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Return the folders of runs, sweeps and analyses among `paths` and in them, each once.

    What a sweep or an analysis has run in its folder is part of it.

    Raises:
        ValueError: One of `paths` is no folder, or no run is there.
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


def read(folders: Sequence[pathlib.Path]) -> Found:
    """Read runs, sweeps and analyses of one benchmark, as far as they are finished and whole.

    Raises:
        ValueError: They are of different benchmarks, or none is finished and whole.
    """
    runs: list[Run] = []
    sweeps: list[SweepFound] = []
    analysed: list[AnalysisFound] = []
    problems: list[str] = []
    for folder in folders:
        with _noting(problems):
            if (folder / _SWEEP).is_file():
                sweeps.append(_read_sweep(folder))
        with _noting(problems):
            if any((folder / mark).is_file() for mark in _MARKS[:3]):
                runs.append(_read(folder))
                with _noting(problems):
                    runs[-1] = runs[-1]._replace(rates=_read_rates(runs[-1]))
                with _noting(problems):
                    runs[-1] = runs[-1]._replace(dynamics=_read_dynamics(runs[-1]))
        with _noting(problems):
            if (folder / analysis_folder.FILE).is_file():
                analysed.append(_read_analysis(folder))
    runs.sort(key=lambda run: _place(run.summary["learner"]))
    found = Found(labelled(runs) if runs else [], sweeps, problems, analysed)
    if not found.benchmarks:
        raise ValueError(f"no run can be reported. {' '.join(problems)}")
    if len(found.benchmarks) > 1:
        names = " and ".join(found.benchmarks)
        raise ValueError(
            f"the runs are of {names}; a report must be of one benchmark: name its folders only."
        )
    return found


def _walk(path: pathlib.Path) -> Iterator[pathlib.Path]:
    for folder, inside, files in os.walk(path):
        if units.DIVISION in files:  # a run's units, which will be merged
            inside.clear()
            continue
        parts = ["units"] if _SWEEP in files else []
        if "config.json" in files:
            parts.append(CHECKPOINTS)
        if analysis_folder.FILE in files:
            with contextlib.suppress(ValueError):  # a damaged one is named when it is read
                parts += analysis_folder.read(pathlib.Path(folder)).folders
        inside[:] = sorted(set(inside) - set(parts))
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Have an error in the block be one more problem."""
    try:
        yield
    except (ValueError, OSError) as error:
        problems.append(str(error))


def _read_sweep(folder: pathlib.Path) -> SweepFound:
    sweep, settings = results.load(folder)
    if not _is_known(settings):
        raise ValueError(f"{folder / _SWEEP} is of a sweep that is not known here.")
    axes = ", ".join(axis.name for axis in sweep.axes)
    label = f"{title_of(settings['learner'])} over {axes} ({folder.resolve().name})"
    return SweepFound(folder, label, sweep, settings)


def _read_analysis(folder: pathlib.Path) -> AnalysisFound:
    title, about, parts = analyses.read(folder)
    of = [{"benchmark": about.benchmark, "learner": learner} for learner in about.learners]
    if not all(map(_is_known, of)):
        raise ValueError(f"{folder / analysis_folder.FILE} is of what is not known here.")
    return AnalysisFound(folder, f"{title} ({folder.resolve().name})", about, parts)


def _read(folder: pathlib.Path) -> Run:
    description = workdirs.read_description(folder)
    summary = workdirs.read_summary(folder)
    if summary is None:
        raise ValueError(f"{folder} holds a run that is not finished.")
    if summary.get("num_points", 1) > 1:
        raise ValueError(f"{folder} holds a part of a sweep; name the sweep's own folder.")
    if not _is_known(summary):
        raise ValueError(f"{folder / 'summary.json'} is of a run that is not known here.")
    arrays = workdirs.read_results(folder)
    if not is_whole(arrays):
        raise ValueError(f"{folder / 'results.npz'} is damaged: arrays are missing or misshapen.")
    return Run(folder, title_of(summary["learner"]), description, summary, arrays, {})


def _is_known(found: Mapping[str, Any]) -> bool:
    """Return whether learner and benchmark are this package's, or of a user's file."""
    for what, known in (("learner", TITLES), ("benchmark", presets.PRESETS)):
        name = found.get(what)
        if not isinstance(name, str) or not (name in known or catalogue.is_own(name)):
            return False
    return True


def _read_rates(run: Run) -> dict[str, np.ndarray]:
    rates = diagnostics.read_rates(run.folder)
    num_rows = run.results["accuracy"].shape[1]
    if any(array.ndim < 1 or len(array) != num_rows for array in rates.values()):
        raise ValueError(f"{run.folder / 'rates.npz'} is of another run; remove it.")
    return rates


def _read_dynamics(run: Run) -> dict[str, np.ndarray]:
    found = dynamics.read(run.folder)
    measured = {name: array for name, array in found.items() if name in dynamics.OF_RUNS}
    num_runs, num_rows, _ = run.results["accuracy"].shape
    for name, array in measured.items():
        if array.shape[:2] != (num_runs, num_rows - (name != "rate_histogram")):
            raise ValueError(f"{run.folder / dynamics.FILE} is of another run; remove it.")
    return found


def _place(learner: str) -> tuple[int, str]:
    """Return where a learner stands among others: users' own come last."""
    order = list(TITLES)
    return order.index(learner) if learner in order else len(order), learner
