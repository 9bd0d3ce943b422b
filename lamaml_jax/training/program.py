"""All runs as programs, compiled and on their devices.

Dimensions: R runs (seeds, point by point), T tasks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh

from lamaml_jax import parallel
from lamaml_jax.loop import Run, Seed, TaskLog
from lamaml_jax.streams import Stream
from lamaml_jax.training.clock import Clock
from lamaml_jax.training.planning import Plan
from lamaml_jax.types import State

Probe: TypeAlias = Callable[[Seed, Stream, State, jax.Array, jax.Array], dict[str, jax.Array]]
"""`probe(seed, stream, state, images, task) -> values by name` of one run, inside a compiled program."""

# XLA on CPU keeps some 30 kB per update of an MLP until a call returns.
_BATCHES_PER_CALL = 2000


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


Train: TypeAlias = Callable[[State, int, int, Callable[[], int]], Iterator[Part]]
"""`train(state, stage, first, most) -> parts`, as in `Program`."""


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
    train: Train
    evaluate: Callable[[State, int, int], np.ndarray]
    measure: Callable[[Probe, State, int], dict[str, np.ndarray]]
    save: Callable[[State], Any]
    load: Callable[[Any], State]
    log: TaskLog


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
    mesh, num_runs = parallel.run_mesh(devices), len(plan.runs.each())
    seeds = parallel.place(plan.runs.stacked(), mesh)
    images = parallel.replicate(plan.stream.images, mesh)
    on = _Devices(mesh, num_runs, images, clock)

    # All learners' streams are drawn by one program, which the cache keeps, as they do not depend on hyper-parameters.
    keys = (seeds._replace(hyper={}),)
    stream = on.compile(functions.draw_stream, keys, ())(keys, ())
    start = on.compile(functions.init, (seeds, stream), on.shared())((seeds, stream), on.shared())
    drawn = (seeds, stream)

    per_call = max(1, _BATCHES_PER_CALL // num_runs)
    longest = max(map(plan.num_batches, range(len(plan.rows))))
    if in_parts or plan.inside or longest > per_call:
        train, log = _in_parts(functions, plan, on, drawn, start, per_call)
    else:
        train, log = _whole(functions, plan, on, drawn, start)
    evaluate = on.compile(functions.evaluate, (*drawn, start), on.shared(0, 0))
    probes: dict[Probe, jax.stages.Compiled] = {}

    def evaluate_on_host(state: State, first: int, stop: int) -> np.ndarray:
        return on.collect(evaluate((*drawn, state), on.shared(first, stop)))

    def measure(probe: Probe, state: State, task: int) -> dict[str, np.ndarray]:
        if probe not in probes:
            probes[probe] = on.compile(probe, (*drawn, start), on.shared(0))
        return on.collect(probes[probe]((*drawn, state), on.shared(task)))

    return Program(
        start,
        train=train,
        evaluate=evaluate_on_host,
        measure=measure,
        save=on.collect,
        load=lambda saved: parallel.place(saved, mesh),
        log=log,
    )


class _Devices(NamedTuple):
    """Where runs are, and what all of them see."""

    mesh: Mesh
    num_runs: int
    images: jax.Array
    clock: Clock

    def shared(self, *numbers: int) -> tuple[Any, ...]:
        """Return what functions take beside each run's own: the images, and numbers."""
        return (self.images, *(np.int32(n) for n in numbers))

    def compile(self, function: Callable[..., Any], of: Any, shared: Any) -> jax.stages.Compiled:
        """Return a function of one run as a program of all."""
        with self.clock.on("compile"):
            mapped = parallel.over_runs(function, self.mesh, self.num_runs)
            return mapped.lower(of, shared).compile()

    def collect(self, tree: Any) -> Any:
        """Bring what is of every run to the host."""
        return parallel.collect(tree, self.num_runs)


def _whole(
    functions: Run, plan: Plan, on: _Devices, drawn: tuple[Seed, Stream], start: State
) -> tuple[Train, TaskLog]:
    """Return what trains on a task in one call, and the shapes of its log."""
    whole_task = on.compile(functions.train_task, (*drawn, start), on.shared(0))

    def train(state: State, stage: int, first: int, most: Callable[[], int]) -> Iterator[Part]:
        assert not first, "a task that is begun goes on in parts"
        state, of_task = whole_task((*drawn, state), on.shared(plan.learnt[stage]))
        infos = on.collect(of_task.infos)
        stop = plan.num_batches(stage)
        infos = {name: values[:, :stop] for name, values in infos.items()}
        yield Part(state, 0, stop, infos, on.collect(of_task[1:]))

    return train, whole_task.out_info[1]


def _in_parts(
    functions: Run,
    plan: Plan,
    on: _Devices,
    drawn: tuple[Seed, Stream],
    start: State,
    per_call: int,
) -> tuple[Train, TaskLog]:
    """Return what trains on a task in calls of at most so many batches, and the shapes of its log."""
    steps = on.compile(functions.train_steps, (*drawn, start), on.shared(0, 0, 0))
    end = on.compile(functions.end_task, (*drawn, start), on.shared(0))

    def train(state: State, stage: int, first: int, most: Callable[[], int]) -> Iterator[Part]:
        row, num_steps = plan.learnt[stage], plan.num_batches(stage)
        while True:
            ahead = next(batch for batch in (*plan.inside, num_steps) if batch > first)
            stop = min(ahead, num_steps, first + max(1, min(most(), per_call)))
            state, part = steps((*drawn, state), on.shared(row, first, stop))
            infos = {n: v[:, first:stop] for n, v in on.collect(part).items()}
            if stop == num_steps:
                break
            yield Part(state, first, stop, infos)
            first = stop
        state, rates, finite = end((*drawn, state), on.shared(row))
        yield Part(state, first, num_steps, infos, on.collect((rates, finite)))

    return train, TaskLog(steps.out_info[1], *end.out_info[1:])
