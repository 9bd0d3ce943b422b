"""All runs of a configuration as programs, compiled and on their devices.

Dimensions: S runs (seeds, of a sweep point by point), T tasks.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from experiments.runs.config import Config
from experiments.runs.probes import PROBES, Probe, dynamics
from lamaml_jax import loop, parallel
from lamaml_jax.streams import Benchmark
from lamaml_jax.types import State

HostProbe: TypeAlias = Callable[[State, int], dict[str, np.ndarray]]


class Program(NamedTuple):
    """All runs, compiled and on their devices.

    Attributes:
        start: The state before training.
        train: `train(state, task)` yields `(state, None)` at each evaluation inside the task, if there are any, and
            `(state, log)` after its end. A part is trained when it is asked for.
        evaluate: `evaluate(state, first, stop) -> accuracy [S, T]`, on the host.
        probe: `probe(state, task) -> values [S]` by name, on the host.
        measure: `measure(state, task) -> values [S, ...]` by name, on the host: those of `probes.dynamics`, and none
            where there are no diagnostics.
        save: `save(state)` on the host.
        load: `load(saved)` back on the devices.
        log: The shapes of a task's log.
        probed: The names of what is probed.
        measured: The shapes of what is measured.
    """

    start: State
    train: Callable[[State, int], Iterator[tuple[State, loop.TaskLog | None]]]
    evaluate: Callable[[State, int, int], np.ndarray]
    probe: HostProbe
    measure: HostProbe
    save: Callable[[State], Any]
    load: Callable[[Any], State]
    log: loop.TaskLog
    probed: list[str]
    measured: dict[str, tuple[int, ...]]


class Clock(dict[str, float]):
    """Seconds spent by name."""

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to `name`."""
        start = time.perf_counter()
        yield
        self[name] += time.perf_counter() - start


def build(config: Config, benchmark: Benchmark, clock: Clock, *, diagnose: bool = False) -> Program:
    """Compile a run's functions, and draw and initialise every seed; its clock shows what compiling took."""
    num_runs = len(config.runs())
    functions = config.make_run(benchmark)
    mesh = parallel.run_mesh()
    seeds = config.place_runs(mesh)
    images = parallel.replicate(benchmark.images, mesh)

    def compiled(function: Callable[..., Any], runs: Any, shared: Any) -> jax.stages.Compiled:
        with clock.on("compile"):
            return parallel.over_runs(function, mesh, num_runs).lower(runs, shared).compile()

    def whole(*numbers: int) -> tuple[Any, ...]:
        return (images, *(np.int32(n) for n in numbers))

    # All learners' streams are drawn by one program, which the cache keeps, as they do not depend on hyper-parameters.
    keys = (seeds._replace(hyper={}),)
    stream = compiled(functions.draw_stream, keys, ())(keys, ())
    start = compiled(functions.init, (seeds, stream), whole())((seeds, stream), whole())
    everything = (seeds, stream, start)
    inside = config.inside_batches(benchmark.setting)
    if inside:
        steps = compiled(functions.train_steps, everything, whole(0, 0, 0))
        end = compiled(functions.end_task, everything, whole(0))
        log = loop.TaskLog(steps.out_info[1], *end.out_info[1:])
    else:
        train = compiled(functions.train_task, everything, whole(0))
        log = train.out_info[1]
    evaluate = compiled(functions.evaluate, everything, whole(0, 0))

    def train_whole(state: State, task: int) -> Iterator[tuple[State, loop.TaskLog | None]]:
        yield train((seeds, stream, state), whole(task))

    def train_in_parts(state: State, task: int) -> Iterator[tuple[State, loop.TaskLog | None]]:
        infos = jax.tree.map(lambda a: np.zeros((num_runs, *a.shape[1:]), a.dtype), log.infos)
        num_steps = benchmark.setting.epochs * benchmark.setting.batches_per_epoch
        for first, stop in itertools.pairwise((0, *inside, num_steps)):
            state, part = steps((seeds, stream, state), whole(task, first, stop))
            for name, values in parallel.collect(part, num_runs).items():
                infos[name][:, first:stop] = values[:, first:stop]
            if stop < num_steps:
                yield state, None
        state, rates, finite = end((seeds, stream, state), whole(task))
        known = [np.isfinite(values).all(axis=1) for values in infos.values()]
        finite = np.logical_and.reduce([parallel.collect(finite, num_runs), *known])
        yield state, loop.TaskLog(infos, rates, finite)

    def evaluate_on_host(state: State, first: int, stop: int) -> np.ndarray:
        row = evaluate((seeds, stream, state), whole(first, stop))
        return parallel.collect(row, num_runs)

    def probe_of(measure: Probe | None) -> tuple[HostProbe, dict[str, Any]]:
        if measure is None:
            return lambda state, task: {}, {}
        probe = compiled(measure, everything, whole(0))
        return (
            lambda state, task: parallel.collect(
                probe((seeds, stream, state), whole(task)), num_runs
            ),
            probe.out_info,
        )

    probe, probed = probe_of(PROBES[config.probe](config, benchmark) if config.probe else None)
    measure, measured = probe_of(dynamics(config, benchmark) if diagnose else None)
    return Program(
        start,
        train=train_in_parts if inside else train_whole,
        evaluate=evaluate_on_host,
        probe=probe,
        measure=measure,
        save=lambda state: parallel.collect(state, num_runs),
        load=lambda saved: parallel.place(saved, mesh),
        log=log,
        probed=list(probed),
        measured={name: (num_runs, *a.shape[1:]) for name, a in measured.items()},
    )
