"""All runs as programs, compiled and on their devices.

Dimensions: R runs (seeds, point by point), T tasks.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

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
_BATCHES_PER_CALL = 2000


class Clock(dict[str, float]):
    """Seconds by name; this one measures none, as the library reads no clock."""

    def now(self) -> float:
        """Return the seconds since some moment; none pass on this clock."""
        return 0.0

    def on(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Add the time that the block takes to `name`: "compile", "train" or "eval"."""
        return contextlib.nullcontext()


class Program(NamedTuple):
    """All runs, compiled and on their devices.

    Attributes:
        start: The state before training.
        train: `train(state, stage, first, most)` trains on the task's batches from `first` on, yields a `Part` after
            each call of a compiled program, of at most `most()` batches, and the last one after the task's end.
        evaluate: `evaluate(state, first, stop) -> accuracy [R, T]`, on the host.
        measure: `measure(probe, state, task) -> values [R, ...]` by name, on the host; compiled once.
        save: `save(state)` on the host.
        load: `load(saved)` back on the devices.
        log: The shapes of a task's log.
    """

    start: State
    train: Callable[[State, int, int, Callable[[], int]], Iterator["Part"]]
    evaluate: Callable[[State, int, int], np.ndarray]
    measure: Callable[[Probe, State, int], dict[str, np.ndarray]]
    save: Callable[[State], Any]
    load: Callable[[Any], State]
    log: TaskLog


class Part(NamedTuple):
    """What was trained in one call.

    Attributes:
        state: After it.
        first: The first of its batches.
        stop: The one after its last.
        infos: What the learner reported of these batches `[R, stop - first]`, by name, on the host.
        end: The rates, and which runs are finite, after the task's end; None inside the task.
    """

    state: State
    first: int
    stop: int
    infos: dict[str, np.ndarray]
    end: tuple[Any, np.ndarray] | None = None


def compile_runs(
    functions: Run,
    plan: Plan,
    clock: Clock,
    *,
    devices: Sequence[jax.Device] | None = None,
    in_parts: bool = False,
) -> Program:
    """Compile a run's functions, and draw and initialise every run.

    Args:
        functions: From `make_run`.
        plan: What is to be trained.
        clock: Shows what compiling took.
        devices: Over which runs are spread, all by default.
        in_parts: Whether a task may be trained in parts even if it is short.
    """
    num_runs = len(plan.runs.each())
    mesh = parallel.run_mesh(devices)
    seeds = parallel.place(plan.runs.stacked(), mesh)
    images = parallel.replicate(plan.stream.images, mesh)
    per_call = max(1, _BATCHES_PER_CALL // num_runs)
    longest = max(map(plan.num_batches, range(len(plan.rows))))
    in_parts |= bool(plan.inside) or longest > per_call

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

    def train_whole(
        state: State, stage: int, first: int, most: Callable[[], int]
    ) -> Iterator[Part]:
        state, of_task = whole_task((seeds, stream, state), whole(plan.learnt[stage]))
        infos = parallel.collect(of_task.infos, num_runs)
        stop = plan.num_batches(stage)
        infos = {name: values[:, :stop] for name, values in infos.items()}
        yield Part(state, 0, stop, infos, parallel.collect(of_task[1:], num_runs))

    def train_in_parts(
        state: State, stage: int, first: int, most: Callable[[], int]
    ) -> Iterator[Part]:
        row, num_steps = plan.learnt[stage], plan.num_batches(stage)
        while True:
            ahead = next(batch for batch in (*plan.inside, num_steps) if batch > first)
            stop = min(ahead, num_steps, first + max(1, min(most(), per_call)))
            state, part = steps((seeds, stream, state), whole(row, first, stop))
            infos = {n: v[:, first:stop] for n, v in parallel.collect(part, num_runs).items()}
            if stop == num_steps:
                break
            yield Part(state, first, stop, infos)
            first = stop
        state, rates, finite = end((seeds, stream, state), whole(row))
        yield Part(state, first, num_steps, infos, parallel.collect((rates, finite), num_runs))

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
