"""What a run keeps beside its results when it is asked for diagnostics: every learnt rate of its first seed.

What is measured of all seeds is in `dynamics`; `keeper` does both.

rates.npz holds an array `rates_<layer>` `[T + 1, ...]` of the layer's shape for each layer, in half precision. Row t is
after t tasks, NaN where it was not kept: a run may be interrupted and go on with or without diagnostics.

Dimensions: T tasks.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np

from experiments.runs import dynamics
from experiments.runs.program import Program
from lamaml_jax import metrics
from lamaml_jax.files import write_whole
from lamaml_jax.types import State

Keep: TypeAlias = Callable[[State, int, Mapping[str, np.ndarray]], None]

_PREFIX = "rates_"


def keeper(
    workdir: pathlib.Path, program: Program, state: State, num_runs: int, num_tasks: int
) -> Keep:
    """Return what enters a state after some tasks, with what was measured as the last of them arrived, and writes both.

    Args:
        workdir: The run's.
        program: The run's, built with `diagnose`.
        state: The run's, on the devices.
        num_runs: S.
        num_tasks: T.

    Raises:
        ValueError: What an earlier part of the run has kept is damaged, or is of another run.
    """
    rates = begin(workdir, state, num_tasks)
    measured = dynamics.begin(
        workdir, program.measured, getattr(state, "lrs", None), num_runs, num_tasks
    )

    def enter(state: State, task: int, arriving: Mapping[str, np.ndarray]) -> None:
        keep(workdir, rates, state, task)
        dynamics.keep(workdir, measured, getattr(state, "lrs", None), task, arriving)

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
    path = workdir / "rates.npz"
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as rates:
            return {name.removeprefix(_PREFIX): rates[name] for name in rates}
    except Exception:  # what reads the file fails on damage with errors of any kind
        raise ValueError(f"{path} is damaged; remove it.") from None


def _rates(state: Any) -> Mapping[str, np.ndarray]:
    """Return the first seed's rates by layer, on the host."""
    lrs = getattr(state, "lrs", None)
    if lrs is None:
        return {}
    names, leaves = metrics.layer_names(lrs), jax.tree.leaves(lrs)
    # One shard, without a program that would take the seed from all.
    first = (np.asarray(leaf.addressable_shards[0].data)[0] for leaf in leaves)
    return dict(zip(names, first, strict=True))
