"""Measure learners' updates per second on MNIST Rotations, against the machine's matrix-product rate.

    python -m benchmarks.throughput [--json=FILE]
    python -m benchmarks.throughput --learner=all --num_seeds=8

The first measures La-MAML in first and second order, the second every learner at its preset, on the tenth task.

Every case runs in a process of its own, on real images, with replay, shuffling and memory included. Nothing else should
run meanwhile. An update counts once per seed.
"""

import concurrent.futures
import json
import multiprocessing
import pathlib
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from tqdm import tqdm

from benchmarks.flops import product_flops
from experiments import backend
from experiments.config import BATCH_SIZE, Config, make_config
from experiments.presets import PRESETS
from lamaml_jax import datasets, loop, parallel

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder with full MNIST; the packaged subset by default"
)
_SEEDS = flags.DEFINE_list("num_seeds", ["1", "8"], "Numbers of seeds to measure")
_ORDERS = flags.DEFINE_list("order", ["first", "second"], "Orders of La-MAML to measure")
_LEARNERS = flags.DEFINE_list(
    "learner", ["la_maml"], "Learners to measure, or all that have a preset"
)
_REPEATS = flags.DEFINE_integer(
    "repeats", 5, "Timed tasks per case, after one that is not timed", lower_bound=1
)
_JSON = flags.DEFINE_string("json", None, "Also write the measurements to this file")

_TASK = 9  # GEM's work grows with the past tasks
_HEADER = (
    "| learner | seeds | updates/s (min to max) | µs per example-gradient | compile s | peak memory MB "
    "| GFLOP/s | of product rate |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
)


class Case(NamedTuple):
    """What one process measures."""

    learner: str
    assignments: tuple[str, ...]
    num_seeds: int
    repeats: int
    data_dir: str | None


def main(argv: Sequence[str]) -> None:
    """Measure every case and print the table."""
    try:
        cases = _cases()
    except ValueError as error:
        sys.exit(f"error: {error}")
    rate = _in_own_process(product_rate)
    print(f"{rate['device']}; large float32 matrix products: {rate['gflops']:.0f} GFLOP/s\n")
    rows = [_in_own_process(measure, case) for case in tqdm(cases, unit="case")]
    print(_HEADER)
    for row in rows:
        speed, low, high = (round(row["updates_per_second"][k]) for k in ("median", "min", "max"))
        print(
            f"| {' '.join((row['learner'], *row['assignments']))} | {row['num_seeds']} "
            f"| {speed} ({low} to {high}) | {row['us_per_example_gradient']:.2f} "
            f"| {row['compile_seconds']:.1f} | {row['peak_memory_mb']:.0f} "
            f"| {row['gflops']:.0f} | {row['gflops'] / rate['gflops']:.0%} |"
        )
    if _JSON.value:
        text = json.dumps({"product_rate": rate, "cases": rows}, indent=2)
        pathlib.Path(_JSON.value).write_text(text + "\n")


def _cases() -> list[Case]:
    names = list(PRESETS["mnist_rotations"]) if _LEARNERS.value == ["all"] else _LEARNERS.value
    if bad := [text for text in _SEEDS.value if not text.isdecimal() or int(text) < 1]:
        raise ValueError(f"num_seeds is {bad[0]!r}; it must be integers >= 1.")
    cases = [
        Case(name, assignments, int(seeds), _REPEATS.value, _DATA_DIR.value)
        for name in names
        for assignments in _variants(name)
        for seeds in _SEEDS.value
    ]
    for case in cases:
        _config(case)
    return cases


def _variants(learner: str) -> list[tuple[str, ...]]:
    return [(f"order={order}",) for order in _ORDERS.value] if learner == "la_maml" else [()]


def product_rate() -> dict[str, Any]:
    """Measure large float32 products, on all devices at once."""
    backend.configure()
    mesh = parallel.run_mesh()
    size, products = 2048, 8

    def multiply(a: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, products, lambda _, b: jnp.tanh(a @ b), a)

    ones = np.ones((mesh.size, size, size), np.float32)
    runs = (parallel.place(ones / size, mesh),)
    seconds = _time(parallel.over_runs(multiply, mesh, mesh.size), (runs, ()), repeats=5)
    flops = mesh.size * products * 2 * size**3
    return {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "gflops": flops / min(seconds) / 1e9,
    }


def measure(case: Case) -> dict[str, Any]:
    """Time the training on a task."""
    backend.configure()
    jax.config.update("jax_enable_compilation_cache", False)
    config = _config(case)
    dataset = (
        datasets.load_packaged_mnist()
        if case.data_dir is None
        else datasets.load("mnist", case.data_dir)
    )
    benchmark = config.make_benchmark(dataset)
    setting = benchmark.setting
    functions = loop.make_run(benchmark, lambda floats: config.build(setting, floats))
    mesh = parallel.run_mesh()
    seeds, num_seeds = config.place_seeds(mesh), len(config.seeds)
    images = parallel.replicate(benchmark.images, mesh)
    stream = parallel.over_runs(functions.draw_stream, mesh, num_seeds)((seeds,), ())
    state = parallel.over_runs(functions.init, mesh, num_seeds)((seeds, stream), (images,))
    args = ((seeds, stream, state), (images, np.int32(_TASK)))
    start = time.perf_counter()
    train = parallel.over_runs(functions.train_task, mesh, num_seeds).lower(*args).compile()
    compile_seconds = time.perf_counter() - start

    seconds = _time(train, args, case.repeats)
    batches = num_seeds * setting.batches_per_epoch
    if "mixed_stream" in config.needs():
        batches *= setting.num_tasks
    updates = batches * config.updates_per_batch()
    gradients = batches * gradients_per_batch(config, _TASK)
    one = jax.tree.map(lambda a: a[0], (seeds, stream, state))
    flops = product_flops(functions.train_task, *one, images, jnp.int32(_TASK)) * num_seeds
    return {
        "learner": case.learner,
        "assignments": case.assignments,
        "num_seeds": case.num_seeds,
        "us_per_example_gradient": 1e6 * statistics.median(seconds) / gradients,
        "updates_per_second": {
            "median": updates / statistics.median(seconds),
            "min": updates / max(seconds),
            "max": updates / min(seconds),
        },
        "compile_seconds": compile_seconds,
        "peak_memory_mb": _peak_memory_mb(),
        "gflops": flops / statistics.median(seconds) / 1e9,
    }


def gradients_per_batch(config: Config, task: int) -> int:
    """Return how many examples a learner differentiates the network at for one incoming batch of the `task`-th task."""
    k, batch = config.keywords, BATCH_SIZE
    glances, replayed = k.get("glances", 1), k.get("replay_batch", 0)
    match config.learner:
        case "la_maml" | "sync_la_maml" | "c_maml":
            return glances * (batch + k["inner_steps"] * (batch + replayed))
        case "meta_bgd":
            return glances * k["mc_samples"] * (batch + k["inner_steps"] * (batch + replayed))
        case "la_er":
            return glances * (batch + 2 * (batch + replayed))
        case "er":
            return glances * (batch + config.updates_per_batch() // glances * replayed)
        case "mer":
            return batch * k["batches_per_example"] * (1 + replayed)
        case "gem":
            per_task = k["memory"] // 20
            return glances * batch + config.updates_per_batch() * task * per_task
        case "agem":
            return glances * batch + config.updates_per_batch() * replayed
        case "bgd" | "ucb":
            return glances * batch * k["mc_samples"]
        case _:
            return glances * batch


def _config(case: Case) -> Config:
    return make_config(
        benchmark="mnist_rotations",
        learner=case.learner,
        protocol="single",
        semantics="released",
        assignments=list(case.assignments),
        seeds=tuple(range(case.num_seeds)),
        num_tasks=None,
        samples_per_task=None,
        heads="per_task" if case.learner in ("hat", "icarl") else "shared",
        interpolation="bilinear",
        eval="all",
        eval_split="test",
    )


def _time(function: Any, args: tuple[Any, ...], repeats: int) -> list[float]:
    """Return the seconds of each call but the first, which is not counted."""
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _peak_memory_mb() -> float:
    """Return the process's peak on CPU, else the first device's."""
    stats = jax.devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _in_own_process(function: Any, *args: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


if __name__ == "__main__":
    app.run(main)
