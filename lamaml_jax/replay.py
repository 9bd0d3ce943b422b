"""A fixed-size replay memory as a pytree of arrays, with pure functions to fill it and to draw from it.

Dimensions: M memory slots, B batch, N drawn examples, C classes.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp

from lamaml_jax.pieces import filled_up
from lamaml_jax.types import Batch


class Memory(NamedTuple):
    """The examples kept, and how many were offered.

    Attributes:
        x: Inputs `[M, ...]`.
        y: Labels `[M]`.
        task: Task ids `[M]`.
        seen: int32 scalar, the valid examples offered so far; slots from `min(seen, M)` on are empty.
        logits: The network's outputs as the examples were offered, `[M, C]`; None where they are not kept.
    """

    x: jax.Array
    y: jax.Array
    task: jax.Array
    seen: jax.Array
    logits: jax.Array | None = None


Draw: TypeAlias = Callable[[chex.PRNGKey, Memory, Batch], tuple[Batch, Batch]]
"""`draw(key, memory, batch) -> (incoming, replayed)`: what one glance works on."""


def init(example: Batch, capacity: int) -> Memory:
    """Return an empty memory of `capacity` slots for examples, and logits if any, shaped like the rows of `example`."""

    def slots(a: jax.Array) -> jax.Array:
        return jnp.zeros((capacity, *a.shape[1:]), a.dtype)

    seen, logits = jnp.zeros((), jnp.int32), jax.tree.map(slots, example.logits)
    return Memory(slots(example.x), slots(example.y), slots(example.task), seen, logits)


def add_reservoir(
    key: chex.PRNGKey, memory: Memory, batch: Batch, *, age_inclusive: bool = False
) -> Memory:
    """Offer a batch's valid examples to a reservoir, in order (Vitter 1985, algorithm R).

    While slots are empty they are filled in order. After that the n-th example ever offered takes a slot j drawn
    uniformly from 0..n-1 if j < M, so that every example seen is kept with probability M / n.

    Args:
        key: For the slots.
        memory: Of M slots.
        batch: B examples; invalid rows are not offered.
        age_inclusive: Draw j from 0..n instead, as the authors' released code does: a hair under uniform.

    Returns:
        The memory with the examples written and counted.
    """
    capacity = memory.y.shape[0]
    age = memory.seen + jnp.cumsum(batch.valid, dtype=jnp.int32)
    drawn = jax.random.randint(key, age.shape, 0, age + 1 if age_inclusive else age)
    slots = jnp.where(age <= capacity, age - 1, drawn)
    return _write(memory, batch, slots)


def add_ring(memory: Memory, batch: Batch) -> Memory:
    """Write a batch's valid examples in order over the oldest, so that the memory holds the last M offered."""
    age = memory.seen + jnp.cumsum(batch.valid, dtype=jnp.int32)
    return _write(memory, batch, (age - 1) % memory.y.shape[0])


def after(memory: Memory, read: chex.ArrayTree) -> Memory:
    """Return the memory, to be written only once `read`, which was computed from it, is there.

    Where nothing says which comes first, XLA writes on a copy of the whole memory, at every batch.

    Args:
        memory: Of M slots.
        read: Arrays that all depend on what was drawn of it, such as the new weights.

    Returns:
        The memory, of the same values.
    """
    # Always zero, which the compiler does not see.
    nothing = [((_bits(leaf) & 1) >> 1).astype(jnp.int32) for leaf in jax.tree.leaves(read)]
    return memory._replace(seen=memory.seen + sum(nothing, jnp.int32(0)))


def sample(key: chex.PRNGKey, memory: Memory, size: int, *, replacement: bool = True) -> Batch:
    """Draw `min(size, filled)` examples uniformly.

    Args:
        key: For the draw.
        memory: Of M slots, of which the first `min(seen, M)` are filled.
        size: N.
        replacement: Whether one example may be drawn more than once (as in the released code) or not (the text).

    Returns:
        N rows; those beyond the number of filled slots are not `valid`.

    Raises:
        ValueError: `size` exceeds the slots of a draw without replacement.
    """
    capacity = memory.y.shape[0]
    filled = jnp.minimum(memory.seen, capacity)
    if replacement:
        slots = jax.random.randint(key, (size,), 0, jnp.maximum(filled, 1))
    elif size <= capacity:
        priority = jnp.where(jnp.arange(capacity) < filled, jax.random.uniform(key, (capacity,)), 2)
        slots = jnp.argsort(priority)[:size]
    else:
        raise ValueError(f"size is {size}; a draw without replacement takes at most {capacity}.")
    x, y, task, logits = jax.tree.map(
        lambda a: a[slots], (memory.x, memory.y, memory.task, memory.logits)
    )
    return Batch(x, y, task, valid=jnp.arange(size) < filled, logits=logits)


def draw(
    key: chex.PRNGKey,
    memory: Memory,
    batch: Batch,
    *,
    size: int,
    replacement: bool = True,
    shuffle: bool = True,
) -> tuple[Batch, Batch]:
    """Draw what one glance works on: the incoming batch, reshuffled, and replayed examples.

    Args:
        key: For both.
        memory: Of M slots.
        batch: The incoming B examples.
        size: N, the examples to replay.
        replacement: As in `sample`.
        shuffle: Whether to reshuffle the incoming examples.

    Returns:
        The incoming batch, its padding last, and the replayed one, whose invalid rows stand for what the memory does
        not hold yet; all are invalid where the incoming ones are, so that padding makes no step.
    """
    key_shuffle, key_sample = jax.random.split(key)
    if shuffle:
        order = _shuffled(key_shuffle, batch.valid)
        batch = batch._replace(
            x=batch.x[order], y=batch.y[order], task=batch.task[order], valid=batch.valid[order]
        )
    replayed = filled_up(sample(key_sample, memory, size, replacement=replacement), batch)
    return batch, replayed._replace(valid=replayed.valid & batch.valid.any())


def join(replayed: Batch, incoming: Batch) -> Batch:
    """Return the replayed examples, with their logits, followed by the incoming ones as one batch."""
    x, y, task, valid = (
        jnp.concatenate(pair) for pair in zip(replayed[:4], incoming[:4], strict=True)
    )
    return incoming._replace(x=x, y=y, task=task, valid=valid, logits=replayed.logits)


def _shuffled(key: chex.PRNGKey, valid: jax.Array) -> jax.Array:
    """Return a random order of the valid rows, then the others.

    How many others there are does not change it, as long as `jax_threefry_partitionable` is on, which it is by default.
    """
    priority = jax.random.bits(key, valid.shape)
    return jnp.lexsort((priority, ~valid))


def _bits(a: jax.typing.ArrayLike) -> jax.Array:
    """Return some bits of an array's first number, as an unsigned integer."""
    first = jnp.ravel(a)[0]
    if jnp.issubdtype(first.dtype, jnp.floating):
        unsigned = {2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}[first.dtype.itemsize]
        first = jax.lax.bitcast_convert_type(first, unsigned)
    return first.astype(jnp.uint32)


def _write(memory: Memory, batch: Batch, slots: jax.Array) -> Memory:
    capacity = memory.y.shape[0]
    # Of several examples for one slot only the last is written: the order of a scatter's writes is undefined.
    is_later = jnp.triu(jnp.ones((len(slots), len(slots)), bool), k=1)
    same_slot = slots[:, None] == slots[None, :]
    overwritten = jnp.any(same_slot & is_later & batch.valid[None, :], axis=1)
    slots = jnp.where(batch.valid & ~overwritten, slots, capacity)
    x, y, task, logits = jax.tree.map(
        lambda kept, new: kept.at[slots].set(new, mode="drop"),
        (memory.x, memory.y, memory.task, memory.logits),
        (batch.x, batch.y, batch.task, batch.logits),
    )
    return Memory(x, y, task, memory.seen + batch.valid.sum(dtype=jnp.int32), logits)
