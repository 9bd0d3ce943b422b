"""Which of a user's examples are learnt from and evaluated on: all, some of them, or a sequence of them.

Dimensions: T tasks, N examples of a task, S stages of what is learnt, Q examples of a given sequence.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import chex
import jax
import numpy as np
import numpy.typing as npt

from lamaml_jax import checks
from lamaml_jax.streams.parts.own_data import as_array

Rows: TypeAlias = jax.Array | np.ndarray


class Drawn(NamedTuple):
    """One seed's draw, as rows of the stream's inputs.

    Attributes:
        train: Those learnt in each stage, `[N]` each.
        test: Those each task is evaluated on, `[N]` each.
        tasks: The tasks of those learnt, `[N]` each, where a stage holds several.
    """

    train: Sequence[Rows]
    test: Sequence[Rows]
    tasks: Sequence[np.ndarray] | None = None


class Shown(NamedTuple):
    """What is shown.

    Attributes:
        draw: `draw(key) -> Drawn`.
        train_sizes: How many examples are learnt in each stage.
        test_sizes: How many each task is evaluated on.
    """

    draw: Callable[[chex.PRNGKey], Drawn]
    train_sizes: list[int]
    test_sizes: list[int]


def all_examples(train: Sequence[np.ndarray | None], test: Sequence[np.ndarray]) -> Shown:
    """Return what is shown where every task shows all its examples; None of a task that is only tested."""
    learnt = [np.zeros(0, np.int32) if rows is None else rows for rows in train]
    return Shown(lambda key: Drawn(learnt, test), _sizes(learnt), _sizes(test))


def held_out_examples(train: Sequence[np.ndarray | None], share: Any) -> Shown:
    """Return what is shown where a share of each task's training examples, drawn by each seed, evaluates the others.

    Raises:
        ValueError: The share is not in (0, 1), or holds out no example of some task.
    """
    if not isinstance(share, int | float | np.floating) or not 0 < share < 1:
        raise ValueError(f"held_out is {share!r}; it must be a number in (0, 1).")
    learnt, num_held = [], []
    for i, rows in enumerate(train):
        if rows is None:
            raise ValueError(
                f"eval_split is 'validation'; train_tasks[{i}] must be given then, not None."
            )
        learnt.append(rows)
        num_held.append(int(share * len(rows)))
        if not num_held[-1]:
            raise ValueError(
                f"held_out is {share}; it must hold out an example of each task, and task {i} has {len(rows)}."
            )

    def draw(key: chex.PRNGKey) -> Drawn:
        keys = jax.random.split(key, len(learnt))
        mixed = [jax.random.permutation(k, rows) for k, rows in zip(keys, learnt, strict=True)]
        parted = [(rows[n:], rows[:n]) for rows, n in zip(mixed, num_held, strict=True)]
        return Drawn(*zip(*parted, strict=True))

    kept = [len(rows) - n for rows, n in zip(learnt, num_held, strict=True)]
    return Shown(draw, kept, num_held)


def sequence_of_examples(
    train: Sequence[np.ndarray | None],
    test: Sequence[np.ndarray],
    sequence: npt.ArrayLike,
    num_stages: int | None,
) -> Shown:
    """Return what is shown where a sequence says the task and example of every step `[Q, 2]`, cut into stages.

    Raises:
        ValueError: It names no training example, or cannot be cut so.
    """
    pairs = as_array("sequence", sequence)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(
            f"sequence is {pairs.dtype} of shape {pairs.shape}; it must be integers [Q, 2], task and example."
        )
    if not len(pairs):
        raise ValueError("sequence is empty; it must hold one or more examples.")
    if num_stages is None:
        num_stages = sum(rows is not None for rows in train)
    checks.integer("num_stages", num_stages, 1, len(pairs))
    sizes = np.array([0 if rows is None else len(rows) for rows in train])
    task, example = pairs.T
    is_task = (task >= 0) & (task < len(train))
    size = np.where(is_task, sizes[np.where(is_task, task, 0)], 0)
    for step in np.flatnonzero((example < 0) | (example >= size))[:1]:
        raise ValueError(
            f"sequence[{step}] is task {task[step]}, example {example[step]}; there must be such a training example."
        )
    firsts = np.array([0 if rows is None else rows[0] for rows in train])
    tasks = np.array_split(task.astype(np.int32), num_stages)
    rows = np.array_split((firsts[task] + example).astype(np.int32), num_stages)
    return Shown(lambda key: Drawn(rows, test, tasks), _sizes(rows), _sizes(test))


def _sizes(rows: Sequence[np.ndarray]) -> list[int]:
    return [len(of_one) for of_one in rows]
