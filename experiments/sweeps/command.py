"""A sweep from its axes to its results: check everything, run what is not there yet, write, draw.

In its folder, sweep.json says what is swept and units/ holds the runs.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from experiments.cluster import driver
from experiments.process import console, options
from experiments.reporting.summary import seeds_in_words, title_of
from experiments.reporting.tables import markdown
from experiments.runs import catalogue, dry_run, finished, identity, locks, runner, workdirs
from experiments.runs.config import Config
from experiments.runs.making import assignments_for, make_config, setting_names, unknown_setting
from experiments.sweeps import results
from experiments.sweeps.grid import Axis, Point
from experiments.sweeps.plan import Unit, plan
from experiments.sweeps.results import Sweep
from lamaml_jax.datasets import ImageDataset

FIRST_SEED = 100
"""Of the seeds that choose, which are others than those reported."""

_FILE = "sweep.json"
_SHOWN = 50


class Request(NamedTuple):
    """A checked sweep.

    Attributes:
        axes: What is swept.
        points: Their values.
        configs: One per point.
        folder: Of the sweep.
        memory_gb: What one program may take, in GiB.
    """

    axes: Sequence[Axis]
    points: Sequence[Point]
    configs: Sequence[Config]
    folder: pathlib.Path
    memory_gb: float


def request(
    learner: str,
    axes: Sequence[Axis],
    points: Sequence[Point],
    folder: pathlib.Path,
    *,
    num_seeds: int,
    learners: Sequence[str] = (),
) -> Request:
    """Return a sweep as the flags describe it, checked before anything runs.

    Args:
        learner: Its name.
        axes: What is swept.
        points: Their values.
        folder: For the sweep.
        num_seeds: S, unless the flags say otherwise.
        learners: Those of all sweeps of the command; what --set sets of others alone is not this one's.

    Raises:
        ValueError: In one sentence, what is wrong with which argument.
    """
    settings = options.settings()
    if settings["stream"]["eval_split"] is None:
        settings["stream"]["eval_split"] = "validation"
    if not axes:
        raise ValueError("grid is not given; it must be an axis such as lr_init=0.001:0.3:log8.")
    of = settings["benchmark"], learner, settings["architecture"]
    known = setting_names(*of)
    for axis in axes:
        if axis.name not in known:
            raise ValueError(unknown_setting(*of, axis.name))
    for text in options.SET.value:
        if (name := text.partition("=")[0]) in [axis.name for axis in axes]:
            raise ValueError(f"set is {text!r}; {name} is what the grid is over.")
    seeds = options.seeds(options.num_seeds(num_seeds), FIRST_SEED)
    names = [axis.name for axis in axes]
    own = assignments_for(learner, [learner, *learners], options.SET.value)
    configs = [
        make_config(
            **settings,
            learner=learner,
            assignments=[*own, *map("=".join, zip(names, point, strict=True))],
            seeds=seeds,
            eval="needed",
        )
        for point in points
    ]
    for config in configs:
        config.require_task_ids()
    return Request(axes, points, configs, folder, options.memory_gb())


def check_report(wanted: Request, num_seeds: int) -> None:
    """Check that the best point can be reported with as many seeds from 0 on, as its choice touched none of that.

    Raises:
        ValueError: Its choice is made on test data, or with some of these seeds.
    """
    config = wanted.configs[0]
    if num_seeds and config.eval_split() == "test":
        raise ValueError(
            "report_best is given and eval_split is 'test'; validation must choose what is reported on test data."
        )
    if shared := set(range(num_seeds)) & set(config.seeds):
        raise ValueError(
            f"seed is {config.seeds[0]}; it must be {num_seeds} or more, as report_best runs seed {min(shared)}."
        )


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


def show_dry(wanted: Sequence[Request], dataset: ImageDataset | None) -> None:
    """Print what sweeps would run.

    Raises:
        ValueError: As `check`, of any of them.
    """
    units = [unit for one in wanted for unit in check(one, dataset)]
    dry_run.show([(unit.config, unit.folder) for unit in units], dataset)


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
            for config, folder in of_one:
                _run(config, folder, dataset)
            sweep = results.read(one.axes, one.points, of)
            results.write(one.folder, sweep, _reported(one, sweep))
            with console.only_warned(f"{one.folder} lacks pictures"):
                from experiments.reporting import sweep_pictures

                sweep_pictures.draw(one.folder, sweep, title(one))
            yield sweep


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
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged; remove it, and the same command writes it anew.")
    described = json.loads(json.dumps(_description(wanted)))
    found = {"memory_gb": wanted.memory_gb} | found  # which earlier versions did not write
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
    common = {k: v for k, v in points[0].items() if all(p[k] == v for p in points)}
    return {
        "axes": [axis._asdict() for axis in wanted.axes],
        "points": [list(point) for point in wanted.points],
        "settings": common,
        "memory_gb": wanted.memory_gb,
    }
