"""iCaRL's memory: exemplars of each class, picked by herding and kept in fixed-size arrays (Rebuffi et al. 2017).

Dimensions: T tasks, C classes over all heads, H classes of one task, M memory slots, N examples of a task, D features,
P picks.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from lamaml_jax.types import Batch


class Exemplars(NamedTuple):
    """The memory: M slots shared equally by the exemplar sets, one set per class and task that have ended.

    With n sets, set k has the slots from k * (M // n) up to (k + 1) * (M // n), in the order of herding; a set of a
    class with fewer examples leaves its last slots invalid. Where n exceeds M, the last sets have none.

    Attributes:
        x: Inputs `[M, ...]`.
        y: Labels `[M]`.
        task: Task ids `[M]`.
        valid: bool `[M]`, the slots that hold an exemplar.
        targets: `[M, H]`, the probabilities that the network gave to the classes of the exemplar's own task when a
            task ended last.
        num_sets: int32 scalar, n.
    """

    x: jax.Array
    y: jax.Array
    task: jax.Array
    valid: jax.Array
    targets: jax.Array
    num_sets: jax.Array


def herd(features: jax.Array, members: jax.Array, num_picks: int) -> tuple[jax.Array, jax.Array]:
    """Pick examples of each class one by one, so that their mean stays nearest to the class's (Algorithm 4).

    The k-th pick is the example, of those not picked before, that minimises || mu - (phi(x) + sum phi(picked)) / k ||.

    Args:
        features: phi, `[N, D]`.
        members: bool `[H, N]`, the examples of each class.
        num_picks: P.

    Returns:
        The picks as rows of `features`, `[P, H]`, and where a class had an example left to pick, bool `[P, H]`.
    """
    means = class_means(features, members)
    classes = jnp.arange(members.shape[0])

    def pick(
        carry: tuple[jax.Array, jax.Array], k: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        total, left = carry
        distances = squared_distances(k * means - total, features)
        rows = jnp.where(left, distances, jnp.inf).argmin(axis=1)
        found = left.any(axis=1)
        total = total + jnp.where(found[:, None], features[rows], 0)
        return (total, left.at[classes, rows].set(False)), (rows, found)

    _, picked = jax.lax.scan(pick, (jnp.zeros_like(means), members), jnp.arange(1, num_picks + 1))
    return picked


def one_per_set(key: chex.PRNGKey, memory: Exemplars, num_sets: int) -> Exemplars:
    """Draw one exemplar of each of the first `num_sets` sets; rows of sets that are not there are not valid."""
    slots = jnp.arange(memory.y.shape[0])
    share = _share(len(slots), memory.num_sets)
    counts = jnp.zeros(num_sets, jnp.int32).at[slots // share].add(memory.valid, mode="drop")
    ranks = jax.random.randint(key, (num_sets,), 0, jnp.maximum(counts, 1))
    rows = jnp.arange(num_sets) * share + ranks
    x, y, task, targets = (
        a.at[rows].get(mode="clip") for a in (memory.x, memory.y, memory.task, memory.targets)
    )
    return memory._replace(x=x, y=y, task=task, targets=targets, valid=counts > 0)


def add_sets(memory: Exemplars, data: Batch, picks: jax.Array, found: jax.Array) -> Exemplars:
    """Cut the sets to their new share and append those of `picks`, rows of `data`."""
    slots = jnp.arange(memory.y.shape[0])
    old = memory.num_sets
    new = old + picks.shape[1]
    old_share, share = (_share(len(slots), n) for n in (old, new))
    index, rank = slots // share, slots % share
    is_kept = index < old
    source = jnp.where(is_kept, index * old_share + rank, 0)
    # Slots beyond the last set name a pick that is not there; they are filled with any and not valid.
    row = picks.at[rank, index - old].get(mode="clip")
    is_added = ~is_kept & (index < new) & found.at[rank, index - old].get(mode="clip")

    def fill(kept: jax.Array, offered: jax.Array) -> jax.Array:
        where_kept = is_kept.reshape(-1, *[1] * (kept.ndim - 1))
        return jnp.where(where_kept, kept[source], offered[row])

    return Exemplars(
        fill(memory.x, data.x),
        fill(memory.y, data.y),
        fill(memory.task, data.task),
        jnp.where(is_kept, memory.valid[source], is_added),
        memory.targets,
        new,
    )


def class_means(features: jax.Array, members: jax.Array) -> jax.Array:
    """Return the mean features `[H, D]` of each class's members, bool `[H, N]`; 0 where it has none."""
    weights = members.astype(features.dtype)
    return weights @ features / jnp.maximum(weights.sum(axis=1, keepdims=True), 1)


def squared_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return `|| a_i - b_j ||^2` of all rows."""
    return (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)


def _share(num_slots: int, num_sets: jax.Array) -> jax.Array:
    return jnp.maximum(num_slots // jnp.maximum(num_sets, 1), 1)
