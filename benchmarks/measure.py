"""What the benchmarks measure, each in a process of its own: a learner's training, and plain products."""

import concurrent.futures
import multiprocessing
import resource
import statistics
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.flops import product_flops
from experiments.analyses.cost import gradients_per_batch
from experiments.process import backend
from experiments.runs.config import Config
from experiments.runs.making import make_config
from lamaml_jax import datasets, parallel

_TASK = 9  # or the last of fewer; GEM's work grows with the past tasks
_FILLED_FIRST = ("gem", "agem", "icarl")  # what they do depends on what they keep of past tasks
# A task of Split CIFAR-100 takes minutes; a fiftieth of its images takes the same time per update.
_STREAM = {"split_cifar100": {"samples_per_task": 50}}


class Case(NamedTuple):
    """What one process measures.

    Attributes:
        benchmark: Its name.
        learner: Its name.
        assignments: `name=value` overrides of the learner's preset.
        network: Keywords of the network.
        num_seeds: S.
        repeats: Timed tasks, after one that is not timed.
        data_dir: Folder with the data; None is the packaged MNIST subset.
        stream: Keywords of the stream.
    """

    benchmark: str
    learner: str
    assignments: tuple[str, ...]
    network: dict[str, Any]
    num_seeds: int
    repeats: int
    data_dir: str | None
    stream: Mapping[str, Any] = {}

    def config(self) -> Config:
        """Return the checked configuration.

        Raises:
            ValueError: In one sentence, what is wrong with which argument.
        """
        stream = {**_STREAM.get(self.benchmark, {}), **self.stream}
        config = self._config(stream)
        return self._config({**stream, "heads": "per_task"}) if config.lacks_task_ids() else config

    def _config(self, stream: dict[str, Any]) -> Config:
        return make_config(
            benchmark=self.benchmark,
            learner=self.learner,
            assignments=list(self.assignments),
            seeds=tuple(range(self.num_seeds)),
            stream=stream,
            network=self.network,
        )


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
    """Time the training on a task, and the evaluation of all."""
    backend.configure(case.benchmark, case.num_seeds)
    jax.config.update("jax_enable_compilation_cache", False)
    config = case.config()
    dataset = (
        datasets.load_packaged_mnist()
        if case.data_dir is None or config.dataset is None
        else datasets.load(config.dataset, case.data_dir)
    )
    benchmark = config.make_benchmark(dataset)
    setting = benchmark.setting
    functions = config.make_run(benchmark)
    mesh = parallel.run_mesh()
    seeds, num_seeds = parallel.place(config.runs().stacked(), mesh), len(config.seeds)
    images = parallel.replicate(benchmark.images, mesh)
    stream = parallel.over_runs(functions.draw_stream, mesh, num_seeds)((seeds,), ())
    state = parallel.over_runs(functions.init, mesh, num_seeds)((seeds, stream), (images,))
    last = min(_TASK, setting.num_tasks - 1)
    args = ((seeds, stream, state), (images, np.int32(last)))
    start = time.perf_counter()
    train = parallel.over_runs(functions.train_task, mesh, num_seeds).lower(*args).compile()
    compile_seconds = time.perf_counter() - start

    if case.learner in _FILLED_FIRST:
        for task in range(last):
            state, _ = train((seeds, stream, state), (images, np.int32(task)))
        args = ((seeds, stream, state), args[1])
    seconds = _time(train, args, case.repeats)
    evaluate = parallel.over_runs(functions.evaluate, mesh, num_seeds)
    bounds = (np.int32(0), np.int32(setting.num_tasks))
    eval_seconds = _time(evaluate, ((seeds, stream, state), (images, *bounds)), 1)
    batches = num_seeds * setting.batches_per_epoch
    if "mixed_stream" in config.needs():
        batches *= setting.num_tasks
    updates = batches * config.updates_per_batch()
    gradients = gradients_per_batch(config, last)
    microseconds = 1e6 * statistics.median(seconds) / batches
    per_gradient = None if gradients is None else microseconds / gradients
    one = jax.tree.map(lambda a: a[0], (seeds, stream, state))
    flops = product_flops(functions.train_task, *one, images, jnp.int32(last)) * num_seeds
    return {
        **case._asdict(),
        "eval_seconds_per_seed": eval_seconds[0] / num_seeds,
        "us_per_example_gradient": per_gradient,
        "updates_per_second": {
            "median": updates / statistics.median(seconds),
            "min": updates / max(seconds),
            "max": updates / min(seconds),
        },
        "compile_seconds": compile_seconds,
        "peak_memory_mb": _peak_memory_mb(),
        "num_params": sum(a[0].size for a in jax.tree.leaves(state.params)),
        "gflops": flops / statistics.median(seconds) / 1e9,
    }


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


def in_own_process(function: Any, *args: Any) -> dict[str, Any]:
    """Return what a function returns in a process that nothing else ran in."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()
