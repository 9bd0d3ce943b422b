"""What several tests need: a small stream and learners, comparisons of pytrees, quick compilation, servers."""

import contextlib
import ctypes
import functools
import http.server
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.process.backend import free_programs
from lamaml_jax import LEARNERS, Learner
from lamaml_jax.testing.trial import (
    BATCH_SIZE,
    CLASSES_PER_TASK,
    MODEL,
    NUM_FEATURES,
    NUM_TASKS,
    SETTING,
    differs,
    first_rows,
    make_batch,
    small_setting,
    task_data,
)

# The stream and network of the contract's own check serve other tests as well.
__all__ = [
    "BATCH_SIZE",
    "CLASSES_PER_TASK",
    "MODEL",
    "NUM_FEATURES",
    "NUM_TASKS",
    "SETTING",
    "differs",
    "first_rows",
    "make_batch",
    "small_setting",
    "task_data",
]

_SMALL = {
    **{"memory": 12, "replay_batch": 4, "glances": 2, "inner_steps": 2, "mc_samples": 2},
    "projection_directions": 4,
}


def build(name: str, **keywords: Any) -> Learner:
    """Return a learner of MODEL on SETTING, with settings as the factory has them or small."""
    return LEARNERS[name](MODEL, SETTING, **small_keywords(name) | keywords)


def small_keywords(name: str) -> dict[str, Any]:
    """Return small values of those keywords that cost time, as far as a learner has them."""
    known = inspect.signature(LEARNERS[name]).parameters
    return {keyword: value for keyword, value in _SMALL.items() if keyword in known}


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
    free_programs()
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
