"""What a run keeps beside its results when it is asked for diagnostics: every learnt rate of its first seed.

What is measured of all seeds is in `dynamics`; `keeper` does both.

rates.npz holds an array `rates_<layer>` `[T + 1, ...]` of the layer's shape for each layer, in half precision. Row t is
after t tasks, NaN where it was not kept: a run may be interrupted and go on with or without diagnostics.

Dimensions: T tasks.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.runs import dynamics, probes
from experiments.runs.config import Config
from lamaml_jax import Progress, metrics
from lamaml_jax.files import write_whole
from lamaml_jax.streams import Benchmark

_PREFIX = "rates_"


def keeper(
    workdir: pathlib.Path, config: Config, benchmark: Benchmark
) -> Callable[[Progress], None]:
    """Return what enters and writes, of every state, its rates, and what is measured as the next task arrives.

    It raises ValueError where what an earlier part of the run has kept is damaged, or is of another run.

    Args:
        workdir: The run's.
        config: The run's.
        benchmark: The run's.
    """
    probe = probes.dynamics(config, benchmark)
    num_runs, num_tasks = len(config.runs().each()), benchmark.setting.num_tasks
    kept: dict[str, dict[str, np.ndarray]] = {}

    def enter(progress: Progress) -> None:
        lrs = getattr(progress.state, "lrs", None)
        arriving = progress.probe(probe, min(progress.done, num_tasks - 1))
        if not kept:
            kept["rates"] = begin(workdir, progress.state, num_tasks)
            kept["dynamics"] = dynamics.begin(workdir, arriving, lrs, num_runs, num_tasks)
        keep(workdir, kept["rates"], progress.state, progress.row)
        dynamics.keep(workdir, kept["dynamics"], lrs, progress.row, arriving, progress.done)

    return enter


def begin(workdir: pathlib.Path, state: Any, num_tasks: int) -> dict[str, np.ndarray]:
    """Return the rates that an earlier part of the run has kept, or room for them.

    Args:
        workdir: The run's.
        state: All seeds', the axis of seeds first; where it has no field `lrs`, there are no rates to keep.
        num_tasks: T.

    Raises:
        ValueError: What was kept is damaged, or is of another run.
    """
    shapes = {name: (num_tasks + 1, *rates.shape) for name, rates in _rates(state).items()}
    if not shapes or not (workdir / "rates.npz").exists():
        return {name: np.full(shape, np.nan, np.float16) for name, shape in shapes.items()}
    kept = read_rates(workdir)
    if {name: rates.shape for name, rates in kept.items()} != shapes:
        raise ValueError(f"{workdir / 'rates.npz'} is of another run; remove it.")
    return kept


def keep(workdir: pathlib.Path, kept: dict[str, np.ndarray], state: Any, task: int) -> None:
    """Enter the rates after `task` tasks, and write rates.npz."""
    if not kept:
        return
    with np.errstate(over="ignore"):  # a seed that diverges
        for name, rates in _rates(state).items():
            kept[name][task] = rates
    with write_whole(workdir / "rates.npz") as file:
        np.savez(file, allow_pickle=False, **{_PREFIX + name: kept[name] for name in kept})


def read_rates(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the rates by layer that a run has kept, none where it has no rates.npz.

    Raises:
        ValueError: The file is damaged.
    """
    rates = dynamics.read_kept(workdir / "rates.npz")
    return {name.removeprefix(_PREFIX): of_layer for name, of_layer in rates.items()}


def _rates(state: Any) -> Mapping[str, np.ndarray]:
    """Return the first seed's rates by layer, on the host."""
    lrs = getattr(state, "lrs", None)
    if lrs is None:
        return {}
    names, leaves = metrics.layer_names(lrs), jax.tree.leaves(lrs)
    # One shard, without a program that would take the seed from all.
    first = (np.asarray(leaf.addressable_shards[0].data)[0] for leaf in leaves)
    return dict(zip(names, first, strict=True))
