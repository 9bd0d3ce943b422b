"""A memory of equal share for every task, and which tasks lie behind: what GEM and A-GEM remember.

Task ids are names: tasks may come in any order, and come back. A task lies behind if its ring holds something and it
is not the current one.

Dimensions: T tasks, B batch, m slots per task.
"""

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from lamaml_jax import replay
from lamaml_jax.pieces import filled_up
from lamaml_jax.types import Batch


def init(example: Batch, num_tasks: int, slots: int) -> replay.Memory:
    """Return empty rings: a memory of `slots` slots whose fields have one more leading axis, T."""
    one = replay.init(example, slots)
    return jax.tree.map(lambda a: jnp.zeros((num_tasks, *a.shape), a.dtype), one)


def add(rings: replay.Memory, task: jax.Array, batch: Batch) -> replay.Memory:
    """Write a batch's valid examples into the ring of `task []`, in order over the oldest."""
    ring = replay.add_ring(jax.tree.map(lambda a: a[task], rings), batch)
    return jax.tree.map(lambda all_, one: all_.at[task].set(one), rings, ring)


def past_tasks(rings: replay.Memory, task: jax.Array) -> jax.Array:
    """Return which tasks lie behind while `task []` is the current one: bool `[T]`."""
    return (rings.seen > 0) & (jnp.arange(len(rings.seen)) != task)


def listed(past: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """List the tasks of a mask, so that a loop visits them alone.

    Args:
        past: bool `[T]`.

    Returns:
        Task ids `[T]`, those of the mask first and in order; how many those are; and where to end a loop over them:
        the same number, but over runs under vmap, which see the same tasks, one for all. A bound that differed from
        run to run would turn the loop into one that selects all it carries in every pass.
    """
    count = past.sum(dtype=jnp.int32)
    return jnp.argsort(~past), count, _most(count)


def held(
    rings: replay.Memory, task: jax.Array, incoming: Batch, is_asked: jax.Array | bool = True
) -> Batch:
    """Return what the rings hold of `task []`, and nothing valid unless `is_asked []`; blanks are as in `filled_up`."""
    x, y, ids, seen, _ = jax.tree.map(lambda a: a[task], rings)
    is_held = jnp.arange(len(y)) < seen
    return filled_up(Batch(x, y, ids, is_held), incoming)._replace(valid=is_held & is_asked)


def sample(
    key: jax.Array, rings: replay.Memory, past: jax.Array, incoming: Batch, size: int
) -> Batch:
    """Draw from the rings of the tasks in `past`, bool `[T]`, uniformly, without replacement; `filled_up` as well."""
    slots = rings.y.shape[1]
    is_held = past[:, None] & (jnp.arange(slots) < rings.seen[:, None])
    order = jax.random.uniform(key, is_held.shape) + ~is_held
    drawn = jnp.argsort(order.ravel())[:size]
    x, y, task_ids = (a.reshape(-1, *a.shape[2:])[drawn] for a in rings[:3])
    return filled_up(Batch(x, y, task_ids, valid=is_held.ravel()[drawn]), incoming)


@custom_vmap
def _most(count: jax.Array) -> jax.Array:
    """Return `count []`; of mapped runs the largest, which is not mapped."""
    return count


@_most.def_vmap
def _most_of_runs(
    axis_size: int, in_batched: list[bool], counts: jax.Array
) -> tuple[jax.Array, bool]:
    return _most(counts.max()), False
