"""What several tests need: a small stream and learners, comparisons of pytrees, quick compilation, servers."""

import contextlib
import ctypes
import functools
import gc
import http.server
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamaml_jax import LEARNERS, Batch, Learner, Setting, networks

NUM_TASKS, CLASSES_PER_TASK, NUM_FEATURES, BATCH_SIZE = 3, 2, 12, 10


def small_setting(*, per_task: bool = True) -> Setting:
    """Return a stream of 3 tasks with 2 of the 6 outputs each, or with all 6 shared."""
    num_classes = NUM_TASKS * CLASSES_PER_TASK
    heads = np.kron(np.eye(NUM_TASKS), np.ones((1, CLASSES_PER_TASK))) > 0
    mask = heads if per_task else np.ones((NUM_TASKS, num_classes), bool)
    return Setting(NUM_TASKS, num_classes, mask, BATCH_SIZE, batches_per_epoch=4, epochs=2)


def make_batch(seed: int, task: int = 0, size: int = BATCH_SIZE, **fields: Any) -> Batch:
    """Return random examples of a task, labelled within its head, in the dtypes of a stream."""
    rng = np.random.default_rng([seed, task])
    batch = Batch(
        x=rng.normal(size=(size, NUM_FEATURES)).astype(np.float32),
        y=(rng.integers(CLASSES_PER_TASK, size=size) + CLASSES_PER_TASK * task).astype(np.int32),
        task=np.full(size, task, np.int32),
        valid=np.ones(size, bool),
        first_epoch=np.asarray(True),
        progress=np.zeros((), np.float32),
    )
    # Made by numpy, as every operation of JAX outside jit compiles a program.
    return jax.tree.map(jnp.asarray, batch)._replace(**fields)


def first_rows(batch: Batch, size: int) -> Batch:
    """Return a batch of its first rows."""
    return batch._replace(**{name: getattr(batch, name)[:size] for name in batch._fields[:4]})


SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
_SMALL = {"memory": 12, "replay_batch": 4, "glances": 2, "inner_steps": 2, "mc_samples": 2}


def build(name: str, **keywords: Any) -> Learner:
    """Return a learner of MODEL on SETTING, with settings as the factory has them or small."""
    return LEARNERS[name](MODEL, SETTING, **small_keywords(name) | keywords)


def small_keywords(name: str) -> dict[str, Any]:
    """Return small values of those keywords that cost time, as far as a learner has them."""
    known = inspect.signature(LEARNERS[name]).parameters
    return {keyword: value for keyword, value in _SMALL.items() if keyword in known}


def task_data(learner: Learner, task: int) -> Batch | None:
    """Return what a learner is handed at a task's end."""
    size = SETTING.batch_size * SETTING.batches_per_epoch
    return make_batch(99, task, size) if "task_data" in learner.needs else None


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Compare two pytrees exactly."""
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Compare two pytrees to an absolute and relative tolerance."""

    def compare(a: Any, b: Any) -> None:
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)

    jax.tree.map(compare, actual, expected)


def assert_no_buffer_twice(state: Any) -> None:
    """Check that all arrays of a pytree have memory of their own, without which it cannot be donated."""
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(set(buffers)) == len(buffers)


def differs(a: Any, b: Any) -> bool:
    """Say whether two pytrees differ in any number."""
    return any(
        not np.array_equal(x, y)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@contextlib.contextmanager
def compiling_quickly() -> Iterator[None]:
    """Leave out most of the compiler's optimisations: for programs that compile long and run once."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def free_memory() -> None:
    """Forget all compiled programs and give their memory back, where the C library has a call for it."""
    jax.clear_caches()
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


@contextlib.contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch, builder: Any) -> Iterator[None]:
    """Serve a folder as what a dataset's builder downloads its archives from."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        set_url(monkeypatch, builder, f"http://127.0.0.1:{server.server_port}/")
        try:
            yield
        finally:
            server.shutdown()


def set_url(monkeypatch: pytest.MonkeyPatch, builder: Any, url: str) -> None:
    """Let a dataset's builder download its archives from another folder of the web."""
    monkeypatch.setattr(builder, "ARCHIVES", builder.ARCHIVES._replace(url=url))
