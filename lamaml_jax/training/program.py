"""All runs as programs, compiled and on their devices.

Dimensions: R runs (seeds, point by point), T tasks.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import numpy as np

from lamaml_jax import parallel
from lamaml_jax.loop import Run, Seed, TaskLog
from lamaml_jax.streams import Stream
from lamaml_jax.training.planning import Plan
from lamaml_jax.types import State

Probe: TypeAlias = Callable[[Seed, Stream, State, jax.Array, jax.Array], dict[str, jax.Array]]
"""`probe(seed, stream, state, images, task) -> values by name` of one run, inside a compiled program."""

# XLA on CPU keeps some 30 kB per update of an MLP until a call returns.
_BATCHES_PER_CALL = 1000


class Clock(dict[str, float]):
    """Seconds by name; this one measures none, as the library reads no clock."""

    def on(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Add the time that the block takes to `name`: "compile", "train" or "eval"."""
        return contextlib.nullcontext()


class Program(NamedTuple):
    """All runs, compiled and on their devices.

    Attributes:
        start: The state before training.
        train: `train(state, stage)` yields `(state, None)` at each evaluation inside the task, if there are any, and
            `(state, log)` after its end. A part is trained when it is asked for.
        evaluate: `evaluate(state, first, stop) -> accuracy [R, T]`, on the host.
        measure: `measure(probe, state, task) -> values [R, ...]` by name, on the host; compiled once.
        save: `save(state)` on the host.
        load: `load(saved)` back on the devices.
        log: The shapes of a task's log.
    """

    start: State
    train: Callable[[State, int], Iterator[tuple[State, TaskLog | None]]]
    evaluate: Callable[[State, int, int], np.ndarray]
    measure: Callable[[Probe, State, int], dict[str, np.ndarray]]
    save: Callable[[State], Any]
    load: Callable[[Any], State]
    log: TaskLog


def compile_runs(
    functions: Run, plan: Plan, clock: Clock, *, devices: Sequence[jax.Device] | None = None
) -> Program:
    """Compile a run's functions, and draw and initialise every run.

    Args:
        functions: From `make_run`.
        plan: What is to be trained.
        clock: Shows what compiling took.
        devices: Over which runs are spread, all by default.
    """
    num_runs = len(plan.runs.each())
    mesh = parallel.run_mesh(devices)
    seeds = parallel.place(plan.runs.stacked(), mesh)
    images = parallel.replicate(plan.stream.images, mesh)
    per_call = max(1, _BATCHES_PER_CALL // num_runs)
    longest = max(map(plan.num_batches, range(len(plan.rows))))
    in_parts = bool(plan.inside) or longest > per_call

    def compiled(function: Callable[..., Any], of: Any, shared: Any) -> jax.stages.Compiled:
        with clock.on("compile"):
            return parallel.over_runs(function, mesh, num_runs).lower(of, shared).compile()

    def whole(*numbers: int) -> tuple[Any, ...]:
        return (images, *(np.int32(n) for n in numbers))

    # All learners' streams are drawn by one program, which the cache keeps, as they do not depend on hyper-parameters.
    keys = (seeds._replace(hyper={}),)
    stream = compiled(functions.draw_stream, keys, ())(keys, ())
    start = compiled(functions.init, (seeds, stream), whole())((seeds, stream), whole())
    everything = (seeds, stream, start)
    if in_parts:
        steps = compiled(functions.train_steps, everything, whole(0, 0, 0))
        end = compiled(functions.end_task, everything, whole(0))
        log = TaskLog(steps.out_info[1], *end.out_info[1:])
    else:
        whole_task = compiled(functions.train_task, everything, whole(0))
        log = whole_task.out_info[1]
    evaluate = compiled(functions.evaluate, everything, whole(0, 0))
    probes: dict[Probe, jax.stages.Compiled] = {}

    def train_whole(state: State, stage: int) -> Iterator[tuple[State, TaskLog | None]]:
        yield whole_task((seeds, stream, state), whole(plan.learnt[stage]))

    def train_in_parts(state: State, stage: int) -> Iterator[tuple[State, TaskLog | None]]:
        row, num_steps = plan.learnt[stage], plan.num_batches(stage)
        infos = {
            name: np.full((num_runs, *a.shape[1:]), np.nan, a.dtype)
            for name, a in log.infos.items()
        }
        cuts = {*plan.inside, *range(0, num_steps, per_call), num_steps}
        for first, stop in itertools.pairwise(sorted(cut for cut in cuts if cut <= num_steps)):
            state, part = steps((seeds, stream, state), whole(row, first, stop))
            for name, values in parallel.collect(part, num_runs).items():
                infos[name][:, first:stop] = values[:, first:stop]
            if stop in plan.inside and stop < num_steps:
                yield state, None
        state, rates, finite = end((seeds, stream, state), whole(row))
        known = [np.isfinite(values[:, :num_steps]).all(axis=1) for values in infos.values()]
        finite = np.logical_and.reduce([parallel.collect(finite, num_runs), *known])
        yield state, TaskLog(cast(Any, infos), rates, finite)

    def evaluate_on_host(state: State, first: int, stop: int) -> np.ndarray:
        row = evaluate((seeds, stream, state), whole(first, stop))
        return parallel.collect(row, num_runs)

    def measure(probe: Probe, state: State, task: int) -> dict[str, np.ndarray]:
        if probe not in probes:
            probes[probe] = compiled(probe, everything, whole(0))
        return parallel.collect(probes[probe]((seeds, stream, state), whole(task)), num_runs)

    return Program(
        start,
        train=train_in_parts if in_parts else train_whole,
        evaluate=evaluate_on_host,
        measure=measure,
        save=lambda state: parallel.collect(state, num_runs),
        load=lambda saved: parallel.place(saved, mesh),
        log=log,
    )
