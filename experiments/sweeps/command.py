"""A sweep from its request to its results: check its data and folder, run what is not there yet, write, draw.

In its folder, sweep.json says what is swept and units/ holds the runs.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.cluster import driver
from experiments.process import console, options
from experiments.reporting.summary import seeds_in_words, title_of
from experiments.reporting.tables import markdown
from experiments.runs import catalogue, dry_run, finished, identity, locks, runner, workdirs
from experiments.runs.config import Config
from experiments.sweeps import results
from experiments.sweeps.plan import Unit, plan
from experiments.sweeps.request import Request
from experiments.sweeps.results import Sweep
from lamaml_jax.datasets import ImageDataset

_FILE = "sweep.json"
_SHOWN = 50


def check(wanted: Request, dataset: ImageDataset | None) -> list[Unit]:
    """Return the units that run a sweep, once data, memory and folder are checked; nothing is written.

    Raises:
        ValueError: The data or the memory are not enough for a point, or the folder holds something else.
    """
    _check_folder(wanted)
    streams = {json.dumps(config.stream, sort_keys=True): config for config in wanted.configs}
    for config in streams.values():
        config.make_benchmark(dataset)
    return plan(wanted.configs, dataset, wanted.folder / "units", wanted.memory_gb)


def show_dry(
    wanted: Sequence[Request], dataset: ImageDataset | None, *, report_seeds: int = 0
) -> None:
    """Print what sweeps would run, and then the best point of each with as many seeds on test data.

    Raises:
        ValueError: As `check`, of any of them.
    """
    units = [unit for one in wanted for unit in check(one, dataset)]
    runs = [(unit.config, unit.folder) for unit in units]
    for one in wanted if report_seeds else ():
        # Any point stands for the best, which is not known yet.
        report = _for_report(one.configs[0], tuple(range(report_seeds)))
        if not workdirs.is_finished(_best(one)):
            runs.append((report, _best(one)))
    dry_run.show(runs, dataset)


def perform(wanted: Sequence[Request], dataset: ImageDataset | None) -> Iterator[Sweep]:
    """Run sweeps one after the other, or go on with them, and yield each once what it measured is written and drawn.

    Before the first runs all are checked, and other processes are kept out of their folders until the last is done.

    Args:
        wanted: The sweeps.
        dataset: The images of all.

    Raises:
        ValueError: A folder holds something else, a point does not fit the data or the memory, or another process is
            at work there.
    """
    units = [check(one, dataset) for one in wanted]
    runs = [[(unit.config, unit.folder) for unit in of] for of in units]
    with contextlib.ExitStack() as stack:
        for one in wanted:
            stack.enter_context(locks.hold(one.folder))
            _check_folder(one)  # once more, as another process may have begun a sweep there
        stack.enter_context(workdirs.reserve([run for of in runs for run in of], dataset))
        for one in wanted:
            if not (one.folder / _FILE).exists():
                workdirs.write_json(one.folder / _FILE, _description(one))
        for one, of, of_one in zip(wanted, units, runs, strict=True):
            driver.compute(of_one, dataset)
            _run_all(of_one, dataset)
            sweep = results.read(one.axes, one.points, of)
            results.write(one.folder, sweep, _reported(one, sweep))
            with console.only_warned(f"{one.folder} lacks pictures"):
                from experiments.reporting import sweep_pictures

                sweep_pictures.draw(one.folder, sweep, title(one))
            yield sweep


def check_best(wanted: Request, num_seeds: int) -> None:
    """Check that a best point that is reported already has as many seeds as are wanted now.

    Raises:
        ValueError: It has others.
    """
    folder = _best(wanted)
    if not num_seeds or not workdirs.is_finished(folder):
        return
    there = len(finished.read(folder).seeds)
    if there != num_seeds:
        raise ValueError(
            f"report_seeds is {num_seeds}; {folder} holds the best point with {there}: pass --report_seeds={there}, or "
            "remove that folder."
        )


def report_best(
    wanted: Request, sweep: Sweep, dataset: ImageDataset | None, num_seeds: int
) -> dict[str, Any]:
    """Run the best point once on test data, with the seeds from 0 on, and return the summary.

    Raises:
        ValueError: A seed diverged at every point.
    """
    best = sweep.ranking()[0]
    if sweep.diverged[best].any():
        raise ValueError(
            "report_best is given; there is no best point, as a seed diverged at each."
        )
    config, folder = _for_report(wanted.configs[best], tuple(range(num_seeds))), _best(wanted)
    with workdirs.reserve([(config, folder)], dataset):
        driver.compute([(config, folder)], dataset)
        summary = _run(config, folder, dataset)
        runner.draw(config, folder)
    results.write(wanted.folder, sweep, summary)
    return summary


def show(wanted: Request, sweep: Sweep) -> None:
    """Print a sweep's ranking, as far as a screen holds it."""
    table = sweep.table()
    print(f"{title(wanted)}, the best point first:")
    print(markdown(table[: 1 + _SHOWN]))
    if len(table) > 1 + _SHOWN:
        print(f"and {len(table) - 1 - _SHOWN} more, in {wanted.folder / 'ranking.csv'}")


def title(wanted: Request) -> str:
    """Return what a sweep's ranking and picture are headed with."""
    config = wanted.configs[0]
    seeds, split = seeds_in_words(len(config.seeds)), config.eval_split()
    return (
        f"{title_of(config.learner)} on {catalogue.short(config.benchmark)}, {seeds}, {split} data"
    )


def _run_all(runs: Sequence[tuple[Config, pathlib.Path]], dataset: ImageDataset | None) -> None:
    """Run all parts of a sweep, and raise the error of the first that fails once the others are done and kept."""
    failed = []
    for config, folder in runs:
        try:
            _run(config, folder, dataset)
        except ValueError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def _run(config: Config, folder: pathlib.Path, dataset: ImageDataset | None) -> dict[str, Any]:
    minutes = options.CHECKPOINT_MINUTES.value
    return runner.run(config, dataset, folder, checkpoint_minutes=minutes)


def _best(wanted: Request) -> pathlib.Path:
    return wanted.folder / "best"


def _for_report(config: Config, seeds: tuple[int, ...]) -> Config:
    return dataclasses.replace(config, seeds=seeds, stream={**config.stream, "eval_split": "test"})


def _reported(wanted: Request, sweep: Sweep) -> dict[str, Any] | None:
    """Return the summary of the best point's run on test data, if there is one that is finished."""
    folder = _best(wanted)
    if not workdirs.is_finished(folder):
        return None
    found = finished.read(folder)
    config = _for_report(wanted.configs[sweep.ranking()[0]], found.seeds)
    same = json.dumps(dataclasses.asdict(config)) == json.dumps(dataclasses.asdict(found))
    return workdirs.read_summary(folder) if same else None


def _check_folder(wanted: Request) -> None:
    path = wanted.folder / _FILE
    if wanted.folder.exists() and not wanted.folder.is_dir():
        raise ValueError(f"workdir is {str(wanted.folder)!r}, which is not a folder.")
    if not path.exists():
        return
    try:
        found: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged; remove it, and the same command writes it anew.")
    described = json.loads(json.dumps(_description(wanted)))
    # What earlier versions did not write.
    found = {"memory_gb": wanted.memory_gb} | found
    if isinstance(settings := found.get("settings"), dict):
        found["settings"] = {"stream": described["settings"]["stream"]} | settings
    if described == found | {"memory_gb": wanted.memory_gb} != found:
        raise ValueError(
            f"memory_gb is {wanted.memory_gb:g}; it must stay {found['memory_gb']} in {str(wanted.folder)!r}, whose "
            "points it has divided into the parts that are kept there."
        )
    if found != described:
        differing = [
            f"{name.rpartition('.')[2]} ({was}, now {now})"
            for name, was, now in identity.differing(found, described)
        ]
        raise ValueError(
            f"workdir is {str(wanted.folder)!r}, which holds another sweep, that differs in {', '.join(differing)}; it "
            "must be a new folder, or that of the same sweep."
        )


def _description(wanted: Request) -> dict[str, Any]:
    points = [dataclasses.asdict(config) for config in wanted.configs]
    common = _common(points)
    common["stream"] = _common([point["stream"] for point in points])
    return {
        "axes": [axis._asdict() for axis in wanted.axes],
        "points": [list(point) for point in wanted.points],
        "settings": common,
        "memory_gb": wanted.memory_gb,
    }


def _common(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {k: v for k, v in points[0].items() if all(p.get(k) == v for p in points)}
