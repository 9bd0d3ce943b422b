"""Divide the points of a sweep into units: each is one compiled program over many runs, with a folder of its own.

Floats are arguments of a compiled program, so points that differ in nothing else share one.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from experiments.runs import dry_run
from experiments.runs.config import Config
from lamaml_jax.datasets import ImageDataset


class Unit(NamedTuple):
    """What one compiled program runs.

    Attributes:
        config: With the points as `Config.points`.
        points: Their places in the sweep.
        folder: The unit's work directory.
    """

    config: Config
    points: tuple[int, ...]
    folder: pathlib.Path


def plan(
    configs: Sequence[Config], dataset: ImageDataset | None, root: pathlib.Path, memory_gb: float
) -> list[Unit]:
    """Return the units that run all configurations.

    Args:
        configs: One per point, of one learner on one benchmark.
        dataset: The images of all.
        root: Holds a folder per unit.
        memory_gb: How much memory a unit may take, in GiB; more points than fit are taken one part after the other.

    Raises:
        ValueError: A single point does not fit.
    """
    alike: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        alike.setdefault(_structure(config), []).append(i)
    units: list[Unit] = []
    for number, members in enumerate(alike.values()):
        config = configs[members[0]]
        most = _most_runs(config, dataset, memory_gb) // len(config.seeds)
        if not most:
            raise ValueError(
                f"memory_gb is {memory_gb:g}; it must be more for {len(config.seeds)} seeds of {config.learner} on "
                f"{config.benchmark}, or num_seeds less."
            )
        parts = math.ceil(len(members) / most)
        size = math.ceil(len(members) / parts)
        for part in range(parts):
            points = tuple(members[part * size : (part + 1) * size])
            name = f"{number:03d}" if parts == 1 else f"{number:03d}-{part:03d}"
            merged = _merge([configs[i] for i in points])
            units.append(Unit(merged, points, root / name))
    return units


def _structure(config: Config) -> str:
    """Return what two points must agree in to share a program."""
    floats = config.floats()
    keywords = {name: None if name in floats else v for name, v in config.keywords.items()}
    alike = dataclasses.replace(config, keywords=keywords, stream_seed=None)
    return json.dumps(dataclasses.asdict(alike), sort_keys=True, default=str) + str(sorted(floats))


def _merge(configs: Sequence[Config]) -> Config:
    """Return one configuration with the points of all."""
    values = [
        config.floats()
        | ({} if config.stream_seed is None else {"stream_seed": config.stream_seed})
        for config in configs
    ]
    names = {name for of_point in values for name in of_point}
    varied = [n for n in sorted(names) if len({of_point.get(n) for of_point in values}) > 1]
    points = tuple({n: of_point[n] for n in varied if n in of_point} for of_point in values)
    first = configs[0]
    stream_seed = None if "stream_seed" in varied else first.stream_seed
    return dataclasses.replace(first, points=points, stream_seed=stream_seed)


def _most_runs(config: Config, dataset: ImageDataset | None, memory_gb: float) -> int:
    """Return how many runs fit into the memory beside each other."""
    taken = dry_run.size(config, dataset)
    return max(0, int((memory_gb * 2**30 - taken.fixed) // taken.per_run))
