"""How far the gradients of several tasks point the same way (the paper's Appendix D and Figure 4).

Dimensions: T tasks, B batch.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lamaml_jax.types import Params
from lamaml_jax.updates import Loss


class Alignment(NamedTuple):
    """How alike gradients are, pair by pair.

    Attributes:
        cosine: `[T, T]` in [-1, 1], the cosine of the angle between two gradients.
        dot: `[T, T]`, their inner product; the diagonal holds their squared norms.
    """

    cosine: jax.Array
    dot: jax.Array


class OldAndNew(NamedTuple):
    """Means over pairs of tasks.

    Attributes:
        among_old: `[...]`, over all pairs of two old tasks.
        against_new: `[...]`, over all pairs of an old task and the new one.
    """

    among_old: jax.Array
    against_new: jax.Array


def gradient_alignment(
    loss_fn: Loss, params: Params, batches: Any, *, present: jax.Array | None = None
) -> Alignment:
    """Return the cosines and inner products of the gradients of a loss on several batches, at the same weights.

    A pure function, to be jitted, or mapped over seeds. One gradient is taken after the other, so that it needs memory
    for T gradients and one batch's activations.

    Args:
        loss_fn: `loss(params, batch) -> scalar`, such as `losses.task_loss` returns.
        params: Where the gradients are taken.
        batches: T batches, any pytrees: a list of them, which may differ in size, or one that is stacked, with arrays
            `[T, B, ...]`. What is stacked compiles once for all T; scalars in it go with every batch.
        present: bool `[T]`, the tasks that have a batch; None says that all have. For stacked `Batch`es with padding it
            is `batches.valid.any(axis=1)`.

    Returns:
        The alignment. A task that is not `present` is NaN throughout, whatever stands in its batch; a gradient of zero
        has no angle, so that its cosines are NaN and its products zero.

    Raises:
        ValueError: `batches` holds none, or arrays for different numbers of tasks, or `present` is not `[T]`.

    Reference: Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020,
    Appendix D.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from lamaml_jax.analysis import gradient_alignment
        >>> def loss(params, target):
        ...     return jnp.sum((params - target) ** 2) / 2
        >>> targets = jnp.array([[1.0, 0.0], [3.0, 4.0], [0.0, -2.0]])
        >>> found = jax.jit(gradient_alignment, static_argnums=0)(loss, jnp.zeros(2), targets)
        >>> print(np.float64(found.cosine).round(2))
        [[ 1.   0.6  0. ]
         [ 0.6  1.  -0.8]
         [ 0.  -0.8  1. ]]
    """
    gradients = _gradients(loss_fn, params, batches)
    num_tasks = len(gradients)
    present = jnp.ones(num_tasks, bool) if present is None else jnp.asarray(present, bool)
    if present.shape != (num_tasks,):
        raise ValueError(f"present is of shape {present.shape}; it must be ({num_tasks},).")
    dot = jnp.matmul(gradients, gradients.T, precision="highest")
    dot = jnp.where(present[:, None] & present[None, :], dot, jnp.nan)
    norms = jnp.sqrt(jnp.diagonal(dot))
    norms = jnp.where(norms > 0, norms, jnp.nan)
    # Rounding may take a cosine past one.
    return Alignment(jnp.clip(dot / norms[:, None] / norms[None, :], -1, 1), dot)


def old_and_new(
    similarity: jax.Array, new: jax.Array | int, *, old: jax.Array | None = None
) -> OldAndNew:
    """Return the mean similarity of old tasks among themselves, and of old tasks with the new one (Figure 4).

    Args:
        similarity: `[..., T, T]`, the `cosine` or the `dot` of an `Alignment`.
        new: The new task, an index in [0, T). It may be traced: `jax.vmap` over it gives the whole of Figure 4.
        old: bool `[T]`, the old tasks; None takes those before `new`, where tasks are numbered as they came.

    Returns:
        The means over pairs of different tasks. Pairs that are NaN are left out; a mean over none is NaN, as it is of
        old tasks among themselves where there is but one.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamaml_jax.analysis import old_and_new
        >>> cosine = jnp.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.8], [0.0, -0.8, 1.0]])
        >>> among_old, against_new = old_and_new(cosine, 2)
        >>> print(f"{among_old:.2f} {against_new:.2f}")
        0.60 -0.40
    """
    tasks = jnp.arange(similarity.shape[-1])
    old = tasks < new if old is None else jnp.asarray(old, bool) & (tasks != new)
    pairs = old[:, None] & old[None, :] & (tasks[:, None] < tasks[None, :])
    with_new = old[:, None] & (tasks[None, :] == new)
    return OldAndNew(_mean_where(similarity, pairs), _mean_where(similarity, with_new))


def _gradients(loss_fn: Loss, params: Params, batches: Any) -> jax.Array:
    """Return the gradients on all batches, flat, as `[T, number of parameters]`."""

    def gradient(batch: Any) -> jax.Array:
        return ravel_pytree(jax.grad(loss_fn)(params, batch))[0]

    if isinstance(batches, list):
        if not batches:
            raise ValueError("batches is an empty list; it must hold a batch for each task.")
        return jnp.stack([gradient(batch) for batch in batches])
    lengths = {len(leaf) for leaf in jax.tree.leaves(batches) if jnp.ndim(leaf) > 0}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"batches holds arrays for {sorted(lengths)} tasks; a stack must hold one number >= 1 of them throughout, "
            "and batches that are not stacked must be a list."
        )

    def stacked(leaf: Any) -> jax.Array:
        return jnp.asarray(leaf) if jnp.ndim(leaf) > 0 else jnp.broadcast_to(leaf, tuple(lengths))

    return jax.lax.map(gradient, jax.tree.map(stacked, batches))


def _mean_where(values: jax.Array, where: jax.Array) -> jax.Array:
    """Return the mean over the last two axes where `where`, without NaN."""
    return jnp.nanmean(jnp.where(where, values, jnp.nan), axis=(-2, -1))
