"""A small stream of one's own data, and a sweep of La-MAML that was trained on it."""

import functools
from typing import Any

import numpy as np

from lamaml_jax import Result, la_maml, networks, streams, train

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
    return train(la_maml, NETWORK, blobs(), seeds=(3, 5), lr_init=[0.02, 0.1, 0.2], **FAST)
