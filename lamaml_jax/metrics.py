"""The metrics of continual learning, from the accuracy matrix.

`accuracy[..., t, i]` is the test accuracy on task i after training on the first t tasks, so row 0 is measured before
training and the matrix is `[..., T+1, T]`. A metric keeps the accuracy's unit; a cell that was not evaluated is NaN.
With A_t,i as in the paper (t and i from 1), A_t,i is `accuracy[t, i - 1]`.

Every task is learnt once, and columns stand in the order in which tasks were learnt: where `order[t]` is the id of the
t-th, take `accuracy[..., order]`. LA, BTI and FWT mean nothing otherwise, and refuse a matrix of another shape with a
ValueError.

Dimensions: T tasks, L layers of a network.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np


def retained_accuracy(accuracy: np.ndarray) -> np.ndarray:
    """Return RA `[...]`, the mean accuracy over all tasks after the last: mean_i A[T, i]."""
    return accuracy[..., -1, :].mean(axis=-1)


def learning_accuracy(accuracy: np.ndarray) -> np.ndarray:
    """Return LA `[...]`, the mean accuracy on each task just after it was learnt: mean_i A[i, i]."""
    return _just_learnt(accuracy).mean(axis=-1)


def backward_transfer(accuracy: np.ndarray) -> np.ndarray:
    """Return BTI `[...]`, backward transfer and interference over all T tasks: mean_i (A[T, i] - A[i, i])."""
    return (accuracy[..., -1, :] - _just_learnt(accuracy)).mean(axis=-1)


def forward_transfer(accuracy: np.ndarray) -> np.ndarray:
    """Return FWT `[...]`, what earlier tasks gave to the next: mean over i > 1 of A[i-1, i] - A[0, i].

    The mean is over T - 1 tasks (the released code divides by T); NaN for a single task.
    """
    _check_shape(accuracy)
    if accuracy.shape[-1] == 1:
        return np.full(accuracy.shape[:-2], np.nan)
    before = np.diagonal(accuracy, axis1=-2, axis2=-1)
    return (before - accuracy[..., 0, :])[..., 1:].mean(axis=-1)


def rate_summary(lrs: chex.ArrayTree) -> tuple[jax.Array, jax.Array]:
    """Return the mean rate of each layer `[L]`, and the share of its rates that are at or below zero `[L]`.

    The layers are the leaves of `lrs` in the order of `layer_names`.
    """
    leaves = jax.tree.leaves(lrs)
    means = jnp.stack([leaf.mean() for leaf in leaves])
    return means, jnp.stack([(leaf <= 0).mean() for leaf in leaves])


def layer_names(params: chex.ArrayTree) -> list[str]:
    """Return the path of each leaf, such as "Dense_0/kernel"."""
    paths = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]


def _just_learnt(accuracy: np.ndarray) -> np.ndarray:
    _check_shape(accuracy)
    return np.diagonal(accuracy[..., 1:, :], axis1=-2, axis2=-1)


def _check_shape(accuracy: np.ndarray) -> None:
    *_, num_rows, num_tasks = accuracy.shape
    if num_rows != num_tasks + 1:
        raise ValueError(
            f"accuracy is of shape {accuracy.shape}; it must be [..., T+1, T], with a row for every task learnt."
        )
