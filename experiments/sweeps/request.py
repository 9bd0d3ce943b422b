"""A sweep as the flags describe it: axes, points, a configuration for each, all checked before anything runs."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.process import options
from experiments.runs.config import Config
from experiments.runs.making import assignments_for, make_config, setting_names, unknown_setting
from experiments.sweeps.grid import Axis, Point

FIRST_SEED = 100
"""Of the seeds that choose, which are others than those reported."""


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


def make(
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
        if axis.name == "eval_split":
            raise ValueError(
                "grid is over eval_split; points are ranked on the same data, so pass --eval_split."
            )
    options.refuse_twice("grid", [axis.name for axis in axes])
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
    _check_different(configs, points)
    return Request(axes, points, configs, folder, options.memory_gb())


def _check_different(configs: Sequence[Config], points: Sequence[Point]) -> None:
    """Check that no two points, however they are written, are the same settings, as far as float32 tells."""
    known: dict[str, Point] = {}
    for config, point in zip(configs, points, strict=True):
        floats = {name: float(np.float32(value)) for name, value in config.floats().items()}
        same = {**dataclasses.asdict(config), "floats": floats}
        same["keywords"] = {n: v for n, v in config.keywords.items() if n not in floats}
        first = known.setdefault(json.dumps(same, sort_keys=True), point)
        if first != point:
            both = " and ".join(" ".join(of) for of in (first, point))
            raise ValueError(
                f"grid has the points {both}, which are the same; all must be different."
            )


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
