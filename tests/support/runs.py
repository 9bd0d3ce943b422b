"""Runs as the training script makes them, for the tests of what goes on in them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import Learner
from lamaml_jax.loop import Hyper, Seed, make_run
from lamaml_jax.parallel import collect, over_runs, place, replicate, run_mesh
from lamaml_jax.streams import Benchmark
from lamaml_jax.types import Setting


class Results(NamedTuple):
    """What runs end with, on the host: everything starts with the axis of runs."""

    stream: Any
    start: Any
    state: Any
    accuracy: np.ndarray
    logs: list[Any]


def seeds_of(*numbers: int, **hyper: list[float]) -> Seed:
    keys = jnp.stack([jax.random.key(number) for number in numbers])
    return Seed(keys, {name: jnp.asarray(values, jnp.float32) for name, values in hyper.items()})


def compile_runs(
    benchmark: Benchmark, build: Callable[[Setting, Hyper], Learner], num_runs: int
) -> Callable[..., Results]:
    """Return a function of seeds that learns the first tasks in order and evaluates on them at the end.

    The runs are mapped over all devices as the training script maps them, and compiled once.
    """
    mesh = run_mesh()
    images = replicate(benchmark.images, mesh)
    draw_stream, init, train_task, evaluate, *_ = (
        over_runs(function, mesh, num_runs)
        for function in make_run(benchmark, lambda hyper: build(benchmark.setting, hyper))
    )

    def run(seeds: Seed, num_tasks: int = benchmark.setting.num_tasks) -> Results:
        placed, logs = place(seeds, mesh), []
        stream = draw_stream((placed,), ())
        start = state = init((placed, stream), (images,))
        for task in range(num_tasks):
            state, log = train_task((placed, stream, state), (images, np.int32(task)))
            logs.append(log)
        bounds = (np.int32(0), np.int32(num_tasks))
        accuracy = evaluate((placed, stream, state), (images, *bounds))
        return Results(*collect((stream, start, state, accuracy, logs), num_runs))

    return run


def run_of(results: Results, index: int) -> Any:
    """Return one run's share."""
    return jax.tree.map(lambda a: a[index], results)
