"""iCaRL's memory: exemplars of each class, picked by herding and kept in fixed-size arrays (Rebuffi et al. 2017).

Dimensions: T tasks, C classes over all heads, H classes of one task, M memory slots, N examples of a task, D features,
P picks.
"""

from typing import NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp

from lamaml_jax.types import Batch


class Exemplars(NamedTuple):
    """The memory: M slots shared equally by the exemplar sets, one set per class of each task that has ended.

    With n sets, set k has the slots from k * (M // n) up to (k + 1) * (M // n), in the order of herding; a set of a
    class with fewer examples leaves its last slots invalid. Where n exceeds M, the last sets have none. The H sets of
    a task stand together, tasks in the order in which they ended first.

    Attributes:
        x: Inputs `[M, ...]`.
        y: Labels `[M]`.
        task: Task ids `[M]`.
        valid: bool `[M]`, the slots that hold an exemplar.
        targets: `[M, H]`, the probabilities that the network gave to the classes of the exemplar's own task when a
            task ended last.
        places: int32 `[T]`, how many tasks have their sets before each task's, which are from k = H * place on; T for
            a task that has not ended.
    """

    x: jax.Array
    y: jax.Array
    task: jax.Array
    valid: jax.Array
    targets: jax.Array
    places: jax.Array


class Draw(Protocol):
    """`draw(key, glance, sizes) -> ranks`."""

    def __call__(self, key: chex.PRNGKey, glance: jax.Array, sizes: jax.Array, /) -> jax.Array:
        """Return which exemplar of each set the step of index `glance []` takes.

        `sizes` counts the exemplars of each set, `[(T - 1) H]`: those of the classes of all tasks but the current one,
        in order, 0 where there are none. Ranks are in [0, size), and without a meaning where the size is 0.
        """


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


def draw_uniformly(key: chex.PRNGKey, glance: jax.Array, sizes: jax.Array) -> jax.Array:
    """Draw one exemplar of each set, a `Draw`."""
    return jax.random.randint(key, sizes.shape, 0, jnp.maximum(sizes, 1))


def set_sizes(memory: Exemplars, tasks: jax.Array) -> jax.Array:
    """Return how many exemplars there are of each class of `tasks [n]`, task by task `[n H]`."""
    slots = jnp.arange(memory.y.shape[0])
    share = _share(len(slots), _num_sets(memory))
    max_sets = len(memory.places) * memory.targets.shape[1]
    sizes = jnp.zeros(max_sets, jnp.int32).at[slots // share].add(memory.valid, mode="drop")
    return sizes.at[_sets(memory, tasks)].get(mode="fill", fill_value=0)


def one_per_set(memory: Exemplars, tasks: jax.Array, ranks: jax.Array) -> Exemplars:
    """Return the exemplar with each rank of `ranks [n H]` in the sets of `tasks [n]`; not valid where there is none."""
    share = _share(memory.y.shape[0], _num_sets(memory))
    rows = _sets(memory, tasks) * share + ranks
    x, y, task, targets = (
        a.at[rows].get(mode="clip") for a in (memory.x, memory.y, memory.task, memory.targets)
    )
    valid = set_sizes(memory, tasks) > 0
    return memory._replace(x=x, y=y, task=task, targets=targets, valid=valid)


def put_sets(
    memory: Exemplars, data: Batch, task: jax.Array, picks: jax.Array, found: jax.Array
) -> Exemplars:
    """Give a task the sets of `picks`, rows of `data`, instead of any that it had; cut all others to their share."""
    slots = jnp.arange(memory.y.shape[0])
    old, num_classes = _num_sets(memory), picks.shape[1]
    is_first_end = memory.places[task] == len(memory.places)
    place = jnp.where(is_first_end, old // num_classes, memory.places[task])
    old_share = _share(len(slots), old)
    share = _share(len(slots), jnp.where(is_first_end, old + num_classes, old))
    index, rank = slots // share, slots % share
    column = index - place * num_classes
    is_own = (column >= 0) & (column < num_classes)
    is_kept = (index < old) & ~is_own
    source = jnp.where(is_kept, index * old_share + rank, 0)
    # Slots beyond the last set name a pick that is not there; they are filled with any and not valid.
    row = picks.at[rank, column].get(mode="clip")
    is_added = is_own & found.at[rank, column].get(mode="clip")

    def fill(kept: jax.Array, offered: jax.Array) -> jax.Array:
        where_kept = is_kept.reshape(-1, *[1] * (kept.ndim - 1))
        return jnp.where(where_kept, kept[source], offered[row])

    return Exemplars(
        fill(memory.x, data.x),
        fill(memory.y, data.y),
        fill(memory.task, data.task),
        jnp.where(is_kept, memory.valid[source], is_added),
        memory.targets,
        memory.places.at[task].set(place),
    )


def class_means(features: jax.Array, members: jax.Array) -> jax.Array:
    """Return the mean features `[H, D]` of each class's members, bool `[H, N]`; 0 where it has none."""
    weights = members.astype(features.dtype)
    return weights @ features / jnp.maximum(weights.sum(axis=1, keepdims=True), 1)


def squared_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return `|| a_i - b_j ||^2` of all rows."""
    return (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)


def _num_sets(memory: Exemplars) -> jax.Array:
    num_ended = jnp.sum(memory.places < len(memory.places), dtype=jnp.int32)
    return num_ended * memory.targets.shape[1]


def _sets(memory: Exemplars, tasks: jax.Array) -> jax.Array:
    """Return the numbers of the sets of `tasks [n]`, `[n H]`; beyond all sets for a task that has none."""
    num_classes = memory.targets.shape[1]
    return (memory.places[tasks][:, None] * num_classes + jnp.arange(num_classes)).ravel()


def _share(num_slots: int, num_sets: jax.Array) -> jax.Array:
    return jnp.maximum(num_slots // jnp.maximum(num_sets, 1), 1)
