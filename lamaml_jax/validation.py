"""A check of what a learner is about to be shown: compiled code cannot refuse a bad example, and learns from it.

Dimensions: T tasks, B batch, C classes.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamaml_jax.types import Batch, Setting


def check_batch(
    setting: Setting, batch: Batch, *, one_task: bool = True, task_data: bool = False
) -> None:
    """Raise ValueError unless a batch keeps the contract of `Batch` on a stream; for the host, before compiled code.

    What stands in padding rows does not matter. A label outside its task's outputs would give a negative loss, and a
    task id outside [0, T) would be taken for another task: neither is seen from inside a compiled program. Under a loss
    of the stream's own, targets are numbers of any shape `[B, ...]`.

    Args:
        setting: The stream's static facts.
        batch: The examples, as numpy or jax arrays.
        one_task: Refuse a batch that holds several tasks, as GEM, A-GEM and HAT need it (see `Learner`); False for the
            others, and for mixed streams.
        task_data: Whether this is a task's training data, as `end_task` takes it, of any length instead of B.

    Raises:
        ValueError: One sentence that names the field, its value and what is allowed.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Batch, Setting, check_batch
        >>> heads = np.array([[True, True, False, False], [False, False, True, True]])
        >>> setting = Setting(2, 4, heads, batch_size=3, batches_per_epoch=1)
        >>> x, task, valid = np.zeros((3, 5)), np.array([1, 1, 1]), np.ones(3, bool)
        >>> check_batch(setting, Batch(x, np.array([2, 3, 3]), task, valid))
        >>> check_batch(setting, Batch(x, np.array([2, 0, 3]), task, valid))
        Traceback (most recent call last):
        ValueError: y[1] is 0; it must be a label of task 1, one of 2, 3.
    """
    x, y, task, valid, first_epoch = (np.asarray(field) for field in batch[:5])
    progress = np.asarray(0 if batch.progress is None else batch.progress)
    are_classes = setting.loss is None
    _check_dtypes(x, y, task, valid, first_epoch, are_classes=are_classes)
    batch_size = None if task_data else setting.batch_size
    _check_shapes(x, y, task, valid, batch_size, are_classes=are_classes)
    _check_scalars(first_epoch, progress)
    _refuse(valid & ~np.logical_and.accumulate(valid), "valid", valid, "False: padding comes last")
    x, y, task = x[valid], y[valid], task[valid]
    bound = setting.num_tasks
    _refuse((task < 0) | (task >= bound), "task", task, f"a task id in [0, {bound})")
    if one_task or task_data:
        allowed = f"{task[:1].sum()}, the task of the first row, as a batch holds one task"
        _refuse(task != task[:1], "task", task, allowed)
    if are_classes:
        _check_labels(setting, y, task)
    _check_finite("x", "inputs", x)
    _check_finite("y", "targets", y)


def _check_dtypes(
    x: np.ndarray,
    y: np.ndarray,
    task: np.ndarray,
    valid: np.ndarray,
    first_epoch: np.ndarray,
    *,
    are_classes: bool,
) -> None:
    integer, boolean, number = (jnp.integer,), (jnp.bool_,), (jnp.floating, jnp.integer)
    allowed: list[tuple[str, np.ndarray, tuple[Any, ...], str]] = [
        ("x", x, number, "floating or integer"),
        ("y", y, integer, "integer") if are_classes else ("y", y, number, "floating or integer"),
        ("task", task, integer, "integer"),
        ("valid", valid, boolean, "bool"),
        ("first_epoch", first_epoch, boolean, "bool"),
    ]
    for name, array, kinds, words in allowed:
        if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
            raise ValueError(f"{name} is of dtype {array.dtype}; it must be {words}.")


def _check_shapes(
    x: np.ndarray,
    y: np.ndarray,
    task: np.ndarray,
    valid: np.ndarray,
    batch_size: int | None,
    *,
    are_classes: bool,
) -> None:
    if x.ndim == 0:
        raise ValueError("x is of shape (); it must be [B, ...], an example per row.")
    for name, array in (("y", y), ("task", task), ("valid", valid)):
        is_target = name == "y" and not are_classes
        if (array.shape[:1] if is_target else array.shape) != (len(x),):
            allowed = f"({len(x)}, ...)" if is_target else f"({len(x)},)"
            raise ValueError(
                f"{name} is of shape {array.shape}; it must be {allowed}, an entry for every row of x."
            )
    if batch_size is not None and len(x) != batch_size:
        raise ValueError(
            f"x has {len(x)} rows; it must have {batch_size}, the batch size, with padding last."
        )


def _check_scalars(first_epoch: np.ndarray, progress: np.ndarray) -> None:
    if first_epoch.shape:
        raise ValueError(f"first_epoch is of shape {first_epoch.shape}; it must be a scalar.")
    is_number = jnp.issubdtype(progress.dtype, jnp.number)
    if progress.shape or not is_number or not 0 <= progress < 1:
        raise ValueError(f"progress is {progress}; it must be a number in [0, 1).")


def _check_labels(setting: Setting, y: np.ndarray, task: np.ndarray) -> None:
    is_label = (y >= 0) & (y < setting.num_classes)
    is_own = np.asarray(setting.class_mask)[task, np.where(is_label, y, 0)] & is_label
    for row in np.flatnonzero(~is_own)[:1]:
        labels = ", ".join(map(str, np.flatnonzero(setting.class_mask[task[row]])))
        _refuse(~is_own, "y", y, f"a label of task {task[row]}, one of {labels}")


def _check_finite(name: str, what: str, values: np.ndarray) -> None:
    for row, *place in np.argwhere(~np.isfinite(values))[:1]:
        value = values[(row, *place)]
        raise ValueError(f"{name}[{row}] holds {value}; {what} must be finite where valid is True.")


def _refuse(is_wrong: np.ndarray, name: str, values: np.ndarray, allowed: str) -> None:
    """Raise ValueError for the first row that is wrong."""
    for row in np.flatnonzero(is_wrong)[:1]:
        raise ValueError(f"{name}[{row}] is {values[row]}; it must be {allowed}.")
