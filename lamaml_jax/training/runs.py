"""Which runs there are, seeds at points of a sweep, and all of them as programs, compiled and on their devices.

Dimensions: R runs (seeds, point by point), T tasks.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import parallel
from lamaml_jax.loop import Run, Seed, TaskLog
from lamaml_jax.streams import Benchmark, Stream
from lamaml_jax.types import State

Point: TypeAlias = Mapping[str, float]
Probe: TypeAlias = Callable[[Seed, Stream, State, jax.Array, jax.Array], dict[str, jax.Array]]
"""`probe(seed, stream, state, images, task) -> values by name` of one run, inside a compiled program."""


class Clock(dict[str, float]):
    """Seconds by name; this one measures none, as the library reads no clock."""

    def on(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Add the time that the block takes to `name`: "compile", "train" or "eval"."""
        return contextlib.nullcontext()


class Runs(NamedTuple):
    """What sets runs apart.

    Attributes:
        seeds: One run each, at every point.
        points: Float settings by name, and a `stream_seed`, that differ between points.
        floats: All float settings, with the values that hold where a point says nothing.
        stream_seed: Draws the one stream of all runs; None has every seed draw its own.
    """

    seeds: Sequence[int]
    points: Sequence[Point]
    floats: Mapping[str, float]
    stream_seed: int | None = None

    def each(self) -> list[tuple[Point, int]]:
        """Return the point and the seed of every run, point by point."""
        return [(point, seed) for point in self.points for seed in self.seeds]

    def stacked(self) -> Seed:
        """Return what `loop` takes of every run, `[R, ...]`."""
        runs = self.each()
        streams_of = [point.get("stream_seed", self.stream_seed) for point, _ in runs]
        own = [
            seed if of is None else int(of) for of, (_, seed) in zip(streams_of, runs, strict=True)
        ]
        hyper = {
            name: jnp.asarray([point.get(name, value) for point, _ in runs], jnp.float32)
            for name, value in self.floats.items()
        }
        return Seed(_keys([seed for _, seed in runs]), hyper, _keys(own))


class Program(NamedTuple):
    """All runs, compiled and on their devices.

    Attributes:
        start: The state before training.
        train: `train(state, row)` yields `(state, None)` at each evaluation inside the task, if there are any, and
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
    functions: Run,
    benchmark: Benchmark,
    runs: Runs,
    clock: Clock,
    *,
    inside: Sequence[int] = (),
    devices: Sequence[jax.Device] | None = None,
) -> Program:
    """Compile a run's functions, and draw and initialise every run.

    Args:
        functions: From `make_run`.
        benchmark: The stream.
        runs: What sets them apart.
        clock: Shows what compiling took.
        inside: After how many batches of a task there are evaluations inside it, ascending.
        devices: Over which runs are spread, all by default.
    """
    num_runs = len(runs.each())
    mesh = parallel.run_mesh(devices)
    seeds = parallel.place(runs.stacked(), mesh)
    images = parallel.replicate(benchmark.images, mesh)

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
    if inside:
        steps = compiled(functions.train_steps, everything, whole(0, 0, 0))
        end = compiled(functions.end_task, everything, whole(0))
        log = TaskLog(steps.out_info[1], *end.out_info[1:])
    else:
        whole_task = compiled(functions.train_task, everything, whole(0))
        log = whole_task.out_info[1]
    evaluate = compiled(functions.evaluate, everything, whole(0, 0))
    probes: dict[Probe, jax.stages.Compiled] = {}

    def train_whole(state: State, row: int) -> Iterator[tuple[State, TaskLog | None]]:
        yield whole_task((seeds, stream, state), whole(row))

    def train_in_parts(state: State, row: int) -> Iterator[tuple[State, TaskLog | None]]:
        num_steps = benchmark.num_batches(row)
        infos = {
            name: np.full((num_runs, *a.shape[1:]), np.nan, a.dtype)
            for name, a in log.infos.items()
        }
        cuts = [batch for batch in inside if batch < num_steps]
        for first, stop in itertools.pairwise((0, *cuts, num_steps)):
            state, part = steps((seeds, stream, state), whole(row, first, stop))
            for name, values in parallel.collect(part, num_runs).items():
                infos[name][:, first:stop] = values[:, first:stop]
            if stop < num_steps:
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
        train=train_in_parts if inside else train_whole,
        evaluate=evaluate_on_host,
        measure=measure,
        save=lambda state: parallel.collect(state, num_runs),
        load=lambda saved: parallel.place(saved, mesh),
        log=log,
    )


def _keys(seeds: Sequence[int]) -> jax.Array:
    return jnp.stack([jax.random.key(seed) for seed in seeds])
