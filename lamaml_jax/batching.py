"""Which examples make which batch: the sizes of tasks, the order of an epoch, padding, and what is gathered.

Dimensions: T tasks, N training examples per task (the most, where tasks differ), B batch.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax.streams import Benchmark, Stream
from lamaml_jax.types import Batch


class Sizes(NamedTuple):
    """How many examples tasks have, None where they are as many as their stream has room for."""

    train: np.ndarray | None
    test: np.ndarray | None
    batch_size: int

    @classmethod
    def of(cls, benchmark: Benchmark) -> "Sizes":
        """Return those of a benchmark."""
        of_parts = (benchmark.train_sizes, benchmark.test_sizes)
        train, test = (None if sizes is None else np.array(sizes, np.int32) for sizes in of_parts)
        return cls(train, test, benchmark.setting.batch_size)

    def is_example(self, stream: Stream, task: jax.Array, *, mixed: bool) -> jax.Array | np.ndarray:
        """Return which rows of an epoch are examples; those of a mixed stream count through all tasks."""
        num_tasks, most = stream.train.image.shape
        if self.train is None:
            return np.ones(num_tasks * most if mixed else most, bool)
        if mixed:
            return (np.arange(most) < self.train[:, None]).ravel()
        return jnp.arange(most) < jnp.asarray(self.train)[task]

    def num_batches(self, stream: Stream, task: jax.Array, *, mixed: bool) -> jax.Array | int:
        """Return the batches of an epoch."""
        if self.train is not None and not mixed:
            return -(-jnp.asarray(self.train)[task] // self.batch_size)
        return -(-int(self.is_example(stream, task, mixed=mixed).sum()) // self.batch_size)


def ordered_rows(
    key: chex.PRNGKey | None, is_example: jax.Array | np.ndarray, batch_size: int
) -> tuple[jax.Array, jax.Array]:
    """Return the rows in batches, padding last, and which of the entries are examples; shuffled if there is a key."""
    num_rows = len(is_example)
    order = jnp.arange(num_rows) if key is None else jax.random.permutation(key, num_rows)
    if not isinstance(is_example, np.ndarray) or not is_example.all():
        of_order = jnp.asarray(is_example)[order]
        order = jnp.where(of_order, order, -1)[jnp.argsort(~of_order, stable=True)]
    order = in_batches(order, batch_size, -1)
    return jnp.maximum(order, 0), order >= 0


def batch(
    key: chex.PRNGKey,
    benchmark: Benchmark,
    stream: Stream,
    images: jax.Array,
    task: jax.Array,
    rows: jax.Array,
    valid: jax.Array,
) -> Batch:
    """Return a batch of a row of the stream's training data, a task as a rule: its `rows [B]`, as far as `valid`."""
    transform = jax.tree.map(lambda a: a[task], stream.transform)
    x = benchmark.inputs.training(key, images, stream.train.image[task, rows], transform)
    y, of = stream.train.label[task, rows], stream.train.task
    return Batch(x, y, jnp.broadcast_to(task, rows.shape) if of is None else of[task, rows], valid)


def mixed_batch(
    key: chex.PRNGKey,
    benchmark: Benchmark,
    stream: Stream,
    images: jax.Array,
    rows: jax.Array,
    valid: jax.Array,
) -> Batch:
    """Return a batch of examples from all tasks; `rows` count through the tasks one after the other."""
    num_examples = stream.train.image.shape[1]

    def example(key: chex.PRNGKey, row: jax.Array, valid: jax.Array) -> Batch:
        task, row = jnp.divmod(row, num_examples)
        one = batch(key, benchmark, stream, images, task, row[None], valid[None])
        return Batch(*(a[0] for a in one[:4]))

    return jax.vmap(example)(jax.random.split(key, len(rows)), rows, valid)


def in_batches(values: jax.Array, size: int, fill: int) -> jax.Array:
    """Return values in rows of `size`, the last of which is filled up."""
    return jnp.pad(values, (0, -len(values) % size), constant_values=fill).reshape(-1, size)
