"""Divide the points of a sweep into units: each is one compiled program over many runs, with a folder of its own.

Floats are arguments of a compiled program, so points that differ in nothing else share one.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax

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
    """Return how many runs fit into the memory beside each other.

    A run holds its stream, its state before and after a task, and copies of both where they are made and saved;
    programs and images take what they take once. What vmap holds of a run on an accelerator is not counted.
    """
    benchmark = config.make_benchmark(dataset)
    functions = config.make_run(benchmark)
    one = jax.tree.map(lambda a: a[0], config.runs().stacked())
    stream = jax.eval_shape(functions.draw_stream, one)
    state = jax.eval_shape(functions.init, one, stream, benchmark.images)
    # Measured on MNIST Rotations with La-MAML: 8.5 MiB per run, where this makes 9.5.
    per_run = 2 * _num_bytes(stream) + 5 * _num_bytes(state)
    return max(
        0, int((memory_gb * 2**30 - _num_bytes(benchmark.images) - _PROGRAM_BYTES) // per_run)
    )


def _num_bytes(tree: object) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


_PROGRAM_BYTES = 3 * 2**29
"""What Python, JAX and a program take, with what it keeps while it runs: 0.8 to 1.4 GiB were measured on CPU."""
