"""What runs have measured so far: arrays that start with the axis of runs, NaN where nothing was measured.

Nothing is kept of a run after the stage in which it diverges, as training ends there where it is alone.

    accuracy [R, S + 1, T]       row 0 before training, then after each stage; or `eval_loss` under a loss of one's own
    diverged [R]                 whether a number was not finite
    loss, ... [R, S, N]          what the learner reports of each batch
    rate_mean, rate_share_nonpositive [R, S + 1, L]   of learnable rates, per layer
    inside_accuracy [R, S, E, T] at the evaluations inside tasks, which are after inside_batches [E] of all batches, the
                                 share inside_progress [S, E] of a task's, NaN from a shorter task's end on
    and what a probe measures [R, S, ...]

Dimensions: R runs, S stages, T tasks, N batches, E evaluations inside a task, L layers.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import metrics, parallel
from lamaml_jax.loop import Run, Seed
from lamaml_jax.training import names
from lamaml_jax.training.planning import Plan
from lamaml_jax.training.planning.contract import aval
from lamaml_jax.training.planning.fitting import example
from lamaml_jax.training.program import Part, Probe, Program
from lamaml_jax.types import Batch, Info, State

Record: TypeAlias = dict[str, np.ndarray]

OF_ALL = ("layer_names", "inside_batches", "inside_progress")
"""What of a finished record is the same for all runs, and does not begin with their axis."""


def evaluated(plan: Plan) -> str:
    """Return the name of the evaluations."""
    return "accuracy" if plan.stream.setting.loss is None else "eval_loss"


def check_probe(probe: Probe, functions: Run, plan: Plan) -> None:
    """Raise ValueError unless a probe, which is traced, returns arrays by names that nothing else in a record has."""

    def reported(seeds: Seed, images: jax.Array, batch: Batch) -> tuple[Any, Info]:
        seed: Seed = jax.tree.map(lambda a: a[0], seeds)
        stream = functions.draw_stream(seed)
        state = functions.init(seed, stream, images)
        _, info = plan.build(seed.hyper).update(jax.random.key(0), state, batch)
        return probe(seed, stream, state, images, jnp.int32(0)), info

    of_plan = plan.runs.stacked(), plan.stream.images, example(plan.stream)
    found, info = jax.eval_shape(reported, *of_plan)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        what = aval(found) if hasattr(found, "dtype") else f"a {type(found).__name__}"
        raise ValueError(f"probe returns {what}; it must return a dict of arrays by name.")
    for name, values in found.items():
        if not hasattr(values, "dtype"):
            kind = type(values).__name__
            raise ValueError(f"probe returns a {kind} as {name}; it must be an array.")
    if sentence := names.taken(found, info):
        raise ValueError(f"probe returns a dict in which {sentence}")


def empty(plan: Plan, program: Program, state: Any, probed: Mapping[str, Any]) -> Record:
    """Return the record of runs before anything is measured.

    Args:
        plan: What is trained.
        program: All runs, compiled.
        state: The learners' states that training starts from.
        probed: Values `[R, ...]` of a probe.
    """
    seeds = np.array([seed for _, seed in plan.runs.each()])
    num_runs, num_stages, num_tasks = len(seeds), plan.rows[-1], plan.stream.setting.num_tasks

    def room(*shape: int) -> np.ndarray:
        return np.full((num_runs, *shape), np.nan, np.float32)

    record = {
        "seeds": seeds,
        evaluated(plan): room(num_stages + 1, num_tasks),
        "diverged": np.zeros(num_runs, bool),
    }
    for name, values in program.log.infos.items():
        record[name] = room(num_stages, values.shape[1])
    if program.log.rates is not None:
        summaries = parallel.collect(jax.vmap(metrics.rate_summary)(state.lrs), num_runs)
        for name, first in zip(_RATES, summaries, strict=True):
            record[name] = room(num_stages + 1, first.shape[1])
            record[name][:, 0] = first
    if plan.inside:
        record[f"inside_{evaluated(plan)}"] = room(num_stages, len(plan.inside), num_tasks)
    for name, values in probed.items():
        record[name] = room(num_stages, *values.shape[1:])
    return record


def note_part(record: Record, part: Part, stage: int) -> None:
    """Enter what a part of a stage's training reported of the runs that had not diverged before it."""
    whole = ~record["diverged"]
    for name, values in part.infos.items():
        record[name][whole, stage, part.first : part.stop] = values[whole]
    if part.end is None:
        return
    rates, finite = part.end
    known = [np.isfinite(record[n][:, stage, : part.stop]).all(axis=1) for n in part.infos]
    record["diverged"] |= ~np.logical_and.reduce([finite, *known])
    if rates is not None:
        for name, values in zip(_RATES, rates, strict=True):
            record[name][whole, stage + 1] = values[whole]


def note(record: Record, values: Mapping[str, Any], stage: int) -> None:
    """Enter what was measured as a stage's task arrived, of the runs that had not diverged."""
    whole = ~record["diverged"]
    for name, of_runs in values.items():
        record[name][whole, stage] = np.asarray(of_runs)[whole]


def note_inside(record: Record, plan: Plan, values: np.ndarray, stage: int, inside: int) -> None:
    """Enter an evaluation inside a stage's task, of the runs that had not diverged before it."""
    whole = ~record["diverged"]
    record[f"inside_{evaluated(plan)}"][whole, stage, inside] = values[whole]


def note_evaluation(
    record: Record, plan: Plan, values: np.ndarray, row: int, first: int, stop: int
) -> None:
    """Enter a row of evaluations of tasks from `first` up to `stop`; a run whose scores are not finite has diverged."""
    record["diverged"] |= np.isnan(values[:, first:stop]).any(axis=1)
    record[evaluated(plan)][:, row] = np.where(record["diverged"][:, None], np.nan, values)


def note_names(record: Record, plan: Plan, state: State) -> None:
    """Enter what layers and evaluations inside tasks are called."""
    if "rate_mean" in record:
        record["layer_names"] = np.array(metrics.layer_names(state.lrs))
    if plan.inside:
        batches = np.array([[plan.num_batches(stage)] for stage in range(len(plan.rows))])
        shares = np.array(plan.inside) / batches
        record["inside_batches"] = np.array(plan.inside)
        record["inside_progress"] = np.where(shares < 1, shares, np.nan)


_RATES = ("rate_mean", "rate_share_nonpositive")
