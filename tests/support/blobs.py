"""Small streams of one's own data, and what was trained on them, once for all tests."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import Result, la_maml, networks, online, streams, train

FAST = {"glances": 1, "inner_steps": 2, "memory": 20}
NETWORK = networks.mlp(3, hidden=(8,))


@functools.cache
def blobs(*, heads: Any = "shared", num_tasks: int = 3) -> streams.Benchmark:
    """Return tasks of three classes in five dimensions, of 30, 40 and 50 examples."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(num_tasks, 3, 5))

    def task(of: int, size: int) -> streams.Arrays:
        y = np.arange(size) % 3
        return (centres[of][y] + 0.3 * rng.normal(size=(size, 5))).astype(np.float32), y

    return streams.from_arrays(
        [task(of, 30 + 10 * of) for of in range(num_tasks)],
        [task(of, 20) for of in range(num_tasks)],
        heads=heads,
    )


@functools.cache
def trained() -> Result:
    """Return La-MAML with two seeds at three rates."""
    return train(la_maml, NETWORK, blobs(), seeds=(3, 5), lr_init=[0.02, 0.1, 0.2], **FAST)


@functools.cache
def plain() -> Result:
    """Return what compiles fastest: plain steps with two seeds, as the defaults are."""
    return train(online, NETWORK, blobs(), seeds=(0, 1))


@functools.cache
def lines(sizes: tuple[int, ...] = (200, 295, 250)) -> streams.Benchmark:
    """Return tasks of fitting one plane each, close to each other."""
    rng = np.random.default_rng(0)
    slopes = np.array([1.0, -2.0, 0.5]) + 0.2 * rng.normal(size=(len(sizes), 3))
    tasks = []
    for slope, size in zip(slopes, sizes, strict=True):
        x = rng.normal(size=(size, 3)).astype(np.float32)
        tasks.append((x, (x @ slope).astype(np.float32)))
    return streams.from_arrays(tasks, tasks)


def squares(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Return a loss of one's own, which takes the targets of `lines`."""
    return jnp.square(outputs - y.reshape(outputs.shape)).sum(axis=-1)
