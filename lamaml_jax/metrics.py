"""The metrics of continual learning, from the accuracy matrix.

`accuracy[..., t, i]` is the test accuracy on task i after training on the first t tasks, so row 0 is measured before
training and the matrix is `[..., T+1, T]`. A metric keeps the accuracy's unit; a cell that was not evaluated is NaN.
With A_t,i as in the paper (t and i from 1), A_t,i is `accuracy[t, i - 1]`.

Every task is learnt once, and columns stand in the order in which tasks were learnt: where `order[t]` is the id of the
t-th, take `accuracy[..., order]`. LA, BTI and FWT mean nothing otherwise, and refuse a matrix of another shape with a
ValueError.

A value is NaN where it is undefined (a single task has no forgetting) or needs a cell that was not evaluated: what each
metric needs, it says. So it is for a run that has diverged.

`inside[..., t, e, i]`, shape `[..., T, E, T]`, holds E further evaluations made while the (t+1)-th task is learnt: what
is seen only between the ends of tasks, such as the stability gap just after a switch.

Dimensions: T tasks, E evaluations inside a task, L layers of a network.
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


def forgetting(accuracy: np.ndarray) -> np.ndarray:
    """Return F `[...]`, how far tasks fell from their best: mean over i < T of max_{t<T} A[t, i] - A[T, i].

    The maximum is over the ends of the tasks 1 to T-1, those before task i was learnt included as far as they were
    evaluated. Negative where tasks are better in the end than ever before; NaN for a single task, or where one of
    A[t, i] with t >= i was not evaluated.

    Reference: Chaudhry et al., "Riemannian Walk for Incremental Learning", ECCV 2018.
    """
    _check_shape(accuracy)
    past = accuracy[..., 1:-1, :-1]
    unused = np.isnan(past) & ~_lower_triangle(past)
    best = np.where(unused, -np.inf, past).max(axis=-2, initial=-np.inf)
    return _mean(best - accuracy[..., -1, :-1])


def average_incremental_accuracy(accuracy: np.ndarray) -> np.ndarray:
    """Return `[...]`, the accuracy on the tasks seen so far, averaged over time: mean_t mean_{i<=t} A[t, i].

    NaN where one of A[t, i] with t >= i was not evaluated.

    Reference: Rebuffi et al., "iCaRL: Incremental Classifier and Representation Learning", CVPR 2017.
    """
    _check_shape(accuracy)
    after = accuracy[..., 1:, :]
    totals = np.where(_lower_triangle(after), after, 0).sum(axis=-1)
    return (totals / np.arange(1, after.shape[-1] + 1)).mean(axis=-1)


def minimum_accuracy(accuracy: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Return min-ACC `[...]`, the mean over i < T of the lowest accuracy on task i after it was learnt.

    mean_{i<T} min_{t>i} A[t, i]: the ends of later tasks alone see what each task leaves behind, but not the stability
    gap, for which `inside` is needed; the source evaluates after every update, so that ours is never below it.

    Args:
        accuracy: `[..., T+1, T]`.
        inside: Evaluations inside tasks `[..., T, E, T]`, which also count; those that are NaN are left out.

    Returns:
        The mean; NaN for a single task, or where one of A[t, i] with t > i was not evaluated.

    Reference: De Lange et al., "Continual evaluation for lifelong learning: Identifying the stability gap", ICLR 2023.
    """
    _check_shape(accuracy)
    later = accuracy[..., 2:, :-1]
    if inside is not None:
        _check_inside(accuracy, inside)
        later = np.minimum(later, np.fmin.reduce(inside[..., 1:, :, :-1], axis=-2, initial=np.inf))
    return _mean(np.where(_lower_triangle(later), later, np.inf).min(axis=-2, initial=np.inf))


def worst_case_accuracy(accuracy: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Return WC-ACC `[...]` at the end of the stream: A[T, T] / T + (1 - 1 / T) min-ACC.

    A lower bound of the accuracy that was kept on all tasks, as far as it was evaluated. A single task's is A[1, 1].

    Args:
        accuracy: `[..., T+1, T]`.
        inside: As in `minimum_accuracy`.

    Returns:
        The value; NaN where `minimum_accuracy` is, but for a single task.

    Reference: De Lange et al., ICLR 2023.
    """
    last, num_tasks = accuracy[..., -1, -1], accuracy.shape[-1]
    lowest = minimum_accuracy(accuracy, inside)
    return last if num_tasks == 1 else last / num_tasks + (1 - 1 / num_tasks) * lowest


def stability_gap(accuracy: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the stability gap `[...]`, how far old tasks fall while the next one is learnt.

    Mean over switches t > 1 of mean_{i<t} (A[t-1, i] - min_e inside[t, e, i]): the drop from the end of one task to the
    lowest evaluation inside the next. What is not regained by the end of that task is part of it; where even the
    lowest is above the end before, it is negative. The source shows the gap in curves and gives no number of its own;
    it evaluates after every update, so that ours is never above what it would see.

    Args:
        accuracy: `[..., T+1, T]`.
        inside: Evaluations inside tasks `[..., T, E, T]`; those that are NaN are left out.

    Returns:
        The mean, in the accuracy's unit; NaN for a single task, where one of A[t, i] with i <= t < T was not
        evaluated, or where an old task was not evaluated inside a later one.

    Reference: De Lange et al., ICLR 2023.
    """
    _check_shape(accuracy)
    _check_inside(accuracy, inside)
    lowest = np.fmin.reduce(inside[..., 1:, :, :-1], axis=-2, initial=np.inf)
    drops = accuracy[..., 1:-1, :-1] - np.where(np.isinf(lowest), np.nan, lowest)
    totals = np.where(_lower_triangle(drops), drops, 0).sum(axis=-1)
    return _mean(totals / np.arange(1, drops.shape[-1] + 1))


def intransigence(accuracy: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Return I `[...]`, what a learner cannot learn that one with all data can: mean_i (joint_i - A[i, i]).

    The source's reference for task i is trained on the tasks up to i, ours on all tasks, so that one run of IID serves
    for all i. Negative where tasks are learnt better one after the other.

    Args:
        accuracy: `[..., T+1, T]`.
        joint: The accuracy on each task `[..., T]` of a model trained on all together: the last row of IID's matrix.

    Returns:
        The mean; NaN where one of A[i, i] or of `joint` was not evaluated.

    Raises:
        ValueError: `joint` has not one accuracy for each task.

    Reference: Chaudhry et al., ECCV 2018.
    """
    learnt = _just_learnt(accuracy)
    if joint.shape[-1:] != learnt.shape[-1:]:
        raise ValueError(
            f"joint is of shape {joint.shape}; it must be [..., T] with T = {learnt.shape[-1]} tasks."
        )
    return (joint - learnt).mean(axis=-1)


def learning_curve_area(
    accuracy: np.ndarray,
    inside: np.ndarray | None = None,
    progress: np.ndarray | None = None,
) -> np.ndarray:
    """Return LCA `[...]`, the mean accuracy on a task while it is learnt: how fast it is learnt, as an area.

    With Z(s) the accuracy on the task that is being learnt when the share s of its training lies behind, averaged over
    tasks, it is the integral of Z from 0 to 1 by trapezoids through Z(0) = mean_i A[i-1, i], the evaluations `inside`,
    and Z(1) = mean_i A[i, i]. Without any inside it is (Z(0) + Z(1)) / 2. The source's LCA_beta is the mean of Z over
    the first beta + 1 batches (it takes beta = 10); ours is over all of the task, as the evaluations lie.

    Args:
        accuracy: `[..., T+1, T]`.
        inside: Evaluations inside tasks `[..., T, E, T]`, of which only the task being learnt counts.
        progress: The share of a task's training behind each of them, ascending within (0, 1): `[E]`, or `[T, E]` where
            tasks are of unequal length, with NaN after the last evaluation inside a shorter one.

    Returns:
        The area; NaN where one of A[i-1, i], A[i, i] or of the evaluations inside task i on itself is NaN.

    Raises:
        ValueError: `inside` is without `progress` or the other way round, or `progress` is not as said.

    Reference: Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019.
    """
    after = _just_learnt(accuracy)
    curve = [np.diagonal(accuracy, axis1=-2, axis2=-1)[..., None, :], after[..., None, :]]
    shares = np.array([[0.0], [1.0]])
    if (inside is None) != (progress is None):
        raise ValueError("inside and progress belong together; give both or neither.")
    if inside is not None and progress is not None:
        _check_inside(accuracy, inside)
        within = _shares_within(progress, inside.shape[-3:-1])
        ends = np.ones((1, within.shape[1]))
        # What a shorter task has not is put at its end, where it adds nothing.
        is_inside = within < 1
        shares = np.concatenate([0 * ends, within, ends])
        on_itself = np.diagonal(inside, axis1=-3, axis2=-1)
        curve.insert(1, np.where(is_inside, on_itself, after[..., None, :]))
    return np.trapezoid(np.concatenate(curve, axis=-2), shares, axis=-2).mean(axis=-1)


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


def _shares_within(progress: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return checked shares `[E, T]` of evaluations inside tasks, 1 where a task has none."""
    num_tasks, number = shape
    is_fit = progress.shape in ((number,), (num_tasks, number))
    if is_fit:
        given = np.broadcast_to(progress, (num_tasks, number))
        is_known = ~np.isnan(given)
        shares = np.where(is_known, given, 1.0)
        steps = np.diff(shares, axis=1, prepend=0.0)
        is_fit = bool(np.all((steps > 0) & (shares < 1) | ~is_known))
    if not is_fit:
        raise ValueError(
            f"progress is {progress.tolist()}; it must be {number} ascending shares within (0, 1), one for each "
            "evaluation inside a task."
        )
    return shares.T


def _lower_triangle(cells: np.ndarray) -> np.ndarray:
    """Return which of the last two axes' cells are on or below the diagonal."""
    return np.tri(*cells.shape[-2:], dtype=bool)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis, NaN where that is empty."""
    return values.mean(axis=-1) if values.shape[-1] else np.full(values.shape[:-1], np.nan)


def _check_inside(accuracy: np.ndarray, inside: np.ndarray) -> None:
    num_tasks = accuracy.shape[-1]
    if inside.ndim < 3 or (inside.shape[-3], inside.shape[-1]) != (num_tasks, num_tasks):
        raise ValueError(
            f"inside is of shape {inside.shape}; it must be [..., T, E, T] with T = {num_tasks} tasks."
        )


def _check_shape(accuracy: np.ndarray) -> None:
    *_, num_rows, num_tasks = accuracy.shape
    if num_rows != num_tasks + 1:
        raise ValueError(
            f"accuracy is of shape {accuracy.shape}; it must be [..., T+1, T], with a row for every task learnt."
        )
