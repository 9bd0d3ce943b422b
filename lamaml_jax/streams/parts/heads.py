"""The outputs of each task of a user's own data, and its labels counted over all of them.

Dimensions: T tasks, N examples of a task, I inputs of all tasks, C classes over all heads.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lamaml_jax import checks
from lamaml_jax.streams.benchmark import Heads
from lamaml_jax.streams.parts.own_data import Pair, is_classes, stored, stored_dtype

_MOST_CLASSES = 1_000_000


class Outputs(NamedTuple):
    """Where each task's head is among all outputs.

    Attributes:
        offsets: The first output of each task's `[T]`.
        widths: How many it has `[T]`.
    """

    offsets: list[int]
    widths: list[int]

    def mask(self) -> np.ndarray:
        """Return which outputs are each task's `[T, C]`."""
        heads = list(zip(self.offsets, self.widths, strict=True))
        mask = np.zeros((len(heads), max(offset + width for offset, width in heads)), bool)
        for task, (offset, width) in enumerate(heads):
            mask[task, offset : offset + width] = True
        return mask


def outputs_of(
    train: Sequence[Pair | None], test: Sequence[Pair], heads: Heads, num_classes: int | None
) -> Outputs:
    """Return the outputs of each task.

    Raises:
        ValueError: A label is outside its head, or targets that are no classes have heads.
    """
    if num_classes is not None:
        checks.integer("num_classes", num_classes, 1)
    if not is_classes(test[0][1]):
        return _outputs_of_targets(test[0][1], len(test), heads, num_classes)
    highest = []
    for pair in zip(train, test, strict=True):
        highest.append(int(max(task[1].max() for task in pair if task is not None)))
    bound = _MOST_CLASSES if num_classes is None else num_classes
    for name, tasks in (("train_tasks", train), ("test_tasks", test)):
        for i, task in enumerate(tasks):
            if task is not None and task[1].max() >= bound:
                why = "the most outputs of a head" if num_classes is None else "as num_classes says"
                raise ValueError(
                    f"{name}[{i}] has label {task[1].max()}; it must be in [0, {bound}), {why}; targets of a loss of "
                    "your own must be floats."
                )
    if heads == "shared":
        return Outputs([0] * len(test), [num_classes or max(highest) + 1] * len(test))
    if num_classes is None:
        _check_from_zero(train, test)
    widths = [num_classes or label + 1 for label in highest]
    return Outputs([int(n) for n in np.cumsum([0, *widths[:-1]])], widths)


def joined_labels(
    train: Sequence[Pair | None], test: Sequence[Pair], offsets: Sequence[int]
) -> np.ndarray:
    """Return the labels of all training and then all test examples `[I]`, or targets `[I, ...]`.

    Raises:
        ValueError: A target is too large for the type in which it is held.
    """
    is_class = is_classes(test[0][1])
    dtype = np.dtype(np.int32) if is_class else stored_dtype(test[0][1])
    parts = [
        task[1].astype(dtype) + np.int32(offset) if is_class else stored("a target", task[1], dtype)
        for tasks in (train, test)
        for task, offset in zip(tasks, offsets, strict=True)
        if task is not None
    ]
    return np.concatenate(parts).astype(dtype)


def _check_from_zero(train: Sequence[Pair | None], test: Sequence[Pair]) -> None:
    for i, pair in enumerate(zip(train, test, strict=True)):
        labels = [task[1] for task in pair if task is not None]
        lowest, highest = min(y.min() for y in labels), max(y.max() for y in labels)
        if lowest:
            raise ValueError(
                f"task {i} has labels from {lowest} to {highest}; with heads 'per_task' they must count from 0 in each "
                "task, or num_classes say how many there are where class 0 is merely missing."
            )


def _outputs_of_targets(
    y: np.ndarray, num_tasks: int, heads: Heads, num_classes: int | None
) -> Outputs:
    if heads != "shared":
        raise ValueError(
            f"heads is 'per_task'; it must be 'shared' for labels of {y.dtype}: classes are integers."
        )
    width = num_classes or (1 if y.ndim == 1 else y.shape[1])
    return Outputs([0] * num_tasks, [width] * num_tasks)
