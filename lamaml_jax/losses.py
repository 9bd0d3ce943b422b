"""Losses and accuracy over a task's own outputs.

Dimensions: T tasks, B batch, C classes.
"""

from collections.abc import Callable
from typing import TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lamaml_jax.types import Apply, Batch, Params, Predict, Setting, State

LossFn: TypeAlias = Callable[[Params, Batch], jax.Array]


def task_loss(apply: Apply, setting: Setting) -> LossFn:
    """Return the mean loss of a batch: the stream's own, or the cross-entropy over each example's task's outputs.

    Args:
        apply: The network, `apply(params, x) -> logits [B, C]`.
        setting: The stream's static facts, whose heads and `loss` are taken.

    Returns:
        `loss(params, batch) -> scalar`, the mean over the valid examples; 0 where none is valid.
    """
    of_outputs = outputs_loss(setting)

    def loss(params: Params, batch: Batch) -> jax.Array:
        return of_outputs(apply(params, batch.x), batch)

    return loss


def outputs_loss(setting: Setting) -> Callable[[jax.Array, Batch], jax.Array]:
    """Return `task_loss` as a function of the network's outputs: `loss(outputs [B, C], batch) -> scalar`."""
    per_example, masks = setting.loss, head_masks(setting.class_mask)

    def loss(outputs: jax.Array, batch: Batch) -> jax.Array:
        if per_example is not None:
            return mean_over_valid(per_example(outputs, batch.y), batch.valid)
        labels = jnp.where(batch.valid, batch.y, 0)
        mask = None if masks is None else masks[batch.task]
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels, where=mask)
        return mean_over_valid(losses, batch.valid)

    return loss


def require_classes(learner: str, setting: Setting) -> None:
    """Check that a stream has classes, for a method that means nothing without.

    Raises:
        ValueError: The stream has a loss of its own.
    """
    if setting.loss is not None:
        raise ValueError(f"loss is given; it must be None for {learner}, which classifies.")


def mean_over_valid(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Return the mean of `values [B]` over the rows where `valid [B]`; 0 where none is."""
    weights = valid.astype(values.dtype)
    return jnp.vdot(weights, values) / jnp.maximum(weights.sum(), 1)


def task_predict(apply: Apply, class_mask: np.ndarray) -> Predict:
    """Return the `predict` of a learner whose state has its network's weights in `params`."""

    def predict(
        state: State, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        return task_scores(apply(state.params, x), class_mask, task)

    return predict


def task_scores(logits: jax.Array, class_mask: np.ndarray, task: jax.Array) -> jax.Array:
    """Return `logits [B, C]` with the outputs of other heads than `task`'s at minus infinity."""
    masks = head_masks(class_mask)
    return logits if masks is None else jnp.where(masks[task], logits, -jnp.inf)


def num_correct(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Count the rows of `scores [B, C]` whose highest entry is at `labels [B]`; a label of -1 never counts."""
    return jnp.sum(scores.argmax(axis=-1) == labels, dtype=jnp.int32)


def head_masks(class_mask: np.ndarray) -> jax.Array | None:
    """Return the heads' masks, `[T, C]`, or None where all tasks share all outputs."""
    return None if class_mask.all() else jnp.asarray(class_mask)
