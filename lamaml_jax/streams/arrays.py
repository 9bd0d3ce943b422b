"""Streams of one's own data: a list of arrays per task, of any shape, kind and size.

Dimensions: T tasks, N examples of a task, B batch, C classes over all heads, Q examples of a given sequence.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from lamaml_jax import checks
from lamaml_jax.streams._own_data import Arrays, checked_tasks, is_classes, stored, stored_dtype
from lamaml_jax.streams.benchmark import (
    Benchmark,
    EvalSplit,
    Examples,
    Heads,
    Inputs,
    Stream,
    joined,
)
from lamaml_jax.types import Setting

_MOST_CLASSES = 1_000_000

Transform: TypeAlias = Callable[[jax.Array], jax.Array]
Augment: TypeAlias = Callable[[chex.PRNGKey, jax.Array], jax.Array]


def from_arrays(
    train_tasks: Sequence[Arrays | None],
    test_tasks: Sequence[Arrays],
    *,
    heads: Heads = "shared",
    num_classes: int | None = None,
    transform: Transform | None = None,
    augment: Augment | None = None,
    sequence: npt.ArrayLike | None = None,
    num_stages: int | None = None,
    eval_split: EvalSplit = "test",
    held_out: float = 0.1,
    batch_size: int = 10,
    epochs: int = 1,
) -> Benchmark:
    """Return a stream of tasks made of arrays.

    Tasks may differ in size: the last batch of each is padded, and what is padded changes nothing. Every seed shows a
    task's examples in an order of its own.

    Args:
        train_tasks: Per task its training inputs `[N, ...]` and labels `[N]`; None for a task that is only tested.
            Inputs may be images (uint8), features (floats) or tokens (ints), of one shape and kind in all tasks; labels
            are classes, or floats `[N]` or `[N, C]` for a loss of one's own.
        test_tasks: Per task the examples on which it is evaluated.
        heads: "shared": labels are global, and classes may come back in later tasks. "per_task": labels count from 0 in
            each task, which has outputs of its own, and the task is known at test.
        num_classes: Of the shared head, or of each task's; None takes one more than the highest label.
        transform: `transform(x [B, ...]) -> inputs`, pure, what the network sees; None scales uint8 to [0, 1] and takes
            others as they are.
        augment: `augment(key, x [B, ...]) -> x`, pure, applied to training examples before `transform`, anew in each
            epoch; what it draws for an example must not depend on the others.
        sequence: Task and example of every training step `[Q, 2]`, in the order in which they arrive, for streams whose
            tasks are blurred, mixed or come back; it is cut into `num_stages` parts, after each of which all tasks are
            evaluated. A batch may then hold several tasks.
        num_stages: Parts of the sequence; None cuts as many as there are training tasks.
        eval_split: Evaluate on the "test" examples, or on those held out for "validation".
        held_out: Share of each task's training examples that "validation" holds out, which each seed draws; in (0, 1).
        batch_size: B.
        epochs: Passes over each task.

    Raises:
        ValueError: In one sentence, which task and argument is wrong, and what is allowed.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import streams
        >>> small, large = np.zeros((7, 28, 28), np.uint8), np.zeros((40, 28, 28), np.uint8)
        >>> tasks = [(small, np.arange(7) % 2), (large, np.arange(40) % 3)]
        >>> stream = streams.from_arrays(tasks, tasks, heads="per_task")
        >>> (
        ...     stream.setting.num_classes,
        ...     stream.train_sizes,
        ...     stream.num_batches(0),
        ...     stream.num_batches(1),
        ... )
        (5, (7, 40), 1, 4)
    """
    checks.choice("heads", heads, Heads)
    checks.choice("eval_split", eval_split, EvalSplit)
    checks.integer("batch_size", batch_size, 1)
    checks.integer("epochs", epochs, 1)
    train, test = checked_tasks(train_tasks, test_tasks)
    offsets, widths = _heads(train, test, heads, num_classes)
    parts = [task for task in (*train, *test) if task is not None]
    dtype = np.result_type(*(stored_dtype(x) for x, _ in parts))
    images = joined([stored("an input", x, dtype) for x, _ in parts], dtype)
    firsts = np.cumsum([0, *(len(x) for x, _ in parts)])
    labels = _joined_labels(train, test, offsets)
    places = iter(firsts)
    train_rows = [
        None if task is None else next(places) + np.arange(len(task[0])) for task in train
    ]
    test_rows = [next(places) + np.arange(len(x)) for x, _ in test]
    learnt = tuple(i for i, rows in enumerate(train_rows) if rows is not None)
    num_held = [0] * len(train)
    if eval_split == "validation":
        num_held = _num_held_out(train, held_out, sequence)
    kept = [
        0 if rows is None else len(rows) - n for rows, n in zip(train_rows, num_held, strict=True)
    ]
    tested = num_held if eval_split == "validation" else [len(rows) for rows in test_rows]
    stages = None if len(learnt) == len(train) else learnt
    shown = None
    if sequence is not None:
        shown = _cut(
            sequence, train_rows, len(learnt) if num_stages is None else num_stages, epochs
        )
        kept, stages = [len(part) for part in shown], tuple(range(len(shown)))
    elif num_stages is not None:
        raise ValueError(f"num_stages is {num_stages}; it must be None without a sequence.")

    def examples(rows: Sequence[jax.Array | np.ndarray]) -> Examples:
        most = max(len(of_task) for of_task in rows)
        image = jnp.stack([jnp.pad(jnp.asarray(r, jnp.int32), (0, most - len(r))) for r in rows])
        label = jnp.asarray(labels)[image]
        if is_classes(labels):
            is_padding = jnp.arange(most) >= np.array([len(of_task) for of_task in rows])[:, None]
            label = jnp.where(is_padding, -1, label)
        return Examples(image, label)

    def make_stream(key: chex.PRNGKey) -> Stream:
        if shown is not None:
            train_part = examples([part[:, 1] for part in shown])
            tasks = [jnp.pad(part[:, 0], (0, max(kept) - len(part))) for part in shown]
            train_part = train_part._replace(task=jnp.stack(tasks).astype(jnp.int32))
            return Stream(train_part, examples(test_rows), ())
        rows = [np.zeros(0, np.int32) if r is None else r for r in train_rows]
        if eval_split == "test":
            return Stream(examples(rows), examples(test_rows), ())
        keys = jax.random.split(key, len(rows))
        drawn = [jax.random.permutation(k, r) for k, r in zip(keys, rows, strict=True)]
        held = [rows[:n] for rows, n in zip(drawn, num_held, strict=True)]
        rest = [rows[n:] for rows, n in zip(drawn, num_held, strict=True)]
        return Stream(examples(rest), examples(held), ())

    mask = np.zeros((len(train), max(o + w for o, w in zip(offsets, widths, strict=True))), bool)
    for task, (offset, width) in enumerate(zip(offsets, widths, strict=True)):
        mask[task, offset : offset + width] = True
    setting = Setting(
        num_tasks=len(train),
        num_classes=mask.shape[1],
        class_mask=mask,
        batch_size=batch_size,
        batches_per_epoch=-(-max(kept) // batch_size),
        epochs=epochs,
    )
    return Benchmark(
        setting,
        images,
        make_stream,
        _inputs(transform, augment),
        train_sizes=tuple(kept) if len(set(kept)) > 1 else None,
        test_sizes=tuple(tested) if len(set(tested)) > 1 else None,
        stages=stages,
        is_sequence=shown is not None,
    )


def _plain(x: jax.Array) -> jax.Array:
    return x / jnp.float32(255) if x.dtype == jnp.uint8 else x


def _inputs(transform: Transform | None, augment: Augment | None) -> Inputs:
    if transform is None and augment is None:
        return PLAIN_INPUTS
    seen = _plain if transform is None else transform

    def evaluation(images: jax.Array, index: jax.Array, of_task: Any) -> jax.Array:
        return seen(images[index])

    def training(key: chex.PRNGKey, images: jax.Array, index: jax.Array, of_task: Any) -> jax.Array:
        return seen(images[index] if augment is None else augment(key, images[index]))

    return Inputs(evaluation, training)


PLAIN_INPUTS = Inputs(
    lambda images, index, of_task: _plain(images[index]),
    lambda key, images, index, of_task: _plain(images[index]),
)
"""Inputs as they are, but for uint8, which is scaled to [0, 1]."""


def _heads(
    train: Sequence[Any], test: Sequence[Any], heads: Heads, num_classes: int | None
) -> tuple[list[int], list[int]]:
    """Return the first output of each task's head, and how many it has."""
    pairs = list(zip(train, test, strict=True))
    if num_classes is not None:
        checks.integer("num_classes", num_classes, 1)
    if not is_classes(test[0][1]):
        if heads != "shared":
            raise ValueError(
                "heads is 'per_task'; it must be 'shared' for labels that are no classes."
            )
        y = test[0][1]
        return [0] * len(pairs), [num_classes or (1 if y.ndim == 1 else y.shape[1])] * len(pairs)
    highest = [max(task[1].max() for task in pair if task is not None) for pair in pairs]
    for i, label in enumerate(highest):
        bound = _MOST_CLASSES if num_classes is None else num_classes
        if label >= bound:
            why = "the most outputs of a head" if num_classes is None else "as num_classes says"
            raise ValueError(f"task {i} has label {label}; it must be in [0, {bound}), {why}.")
    if heads == "shared":
        return [0] * len(pairs), [num_classes or int(max(highest)) + 1] * len(pairs)
    widths = [num_classes or int(label) + 1 for label in highest]
    return [int(n) for n in np.cumsum([0, *widths[:-1]])], widths


def _joined_labels(train: Sequence[Any], test: Sequence[Any], offsets: Sequence[int]) -> np.ndarray:
    is_class = is_classes(test[0][1])
    dtype = np.int32 if is_class else stored_dtype(test[0][1])
    parts = [
        task[1].astype(dtype) + (np.int32(offset) if is_class else 0)
        for tasks in (train, test)
        for task, offset in zip(tasks, offsets, strict=True)
        if task is not None
    ]
    return np.concatenate(parts).astype(dtype)


def _num_held_out(train: Sequence[Any], share: float, sequence: npt.ArrayLike | None) -> list[int]:
    """Return how many training examples of each task are held out."""
    if not 0 < share < 1:
        raise ValueError(f"held_out is {share}; it must be a number in (0, 1).")
    if sequence is not None:
        raise ValueError(
            "eval_split is 'validation'; it must be 'test' with a sequence, which holds nothing out."
        )
    numbers = []
    for i, task in enumerate(train):
        if task is None:
            raise ValueError(
                f"eval_split is 'validation'; train_tasks[{i}] must be given then, not None."
            )
        numbers.append(int(share * len(task[0])))
        if not numbers[-1]:
            raise ValueError(
                f"held_out is {share}; it must hold out an example of each task, and task {i} has {len(task[0])}."
            )
    return numbers


def _cut(
    sequence: npt.ArrayLike, train_rows: Sequence[np.ndarray | None], num_stages: int, epochs: int
) -> list[np.ndarray]:
    """Return the tasks and image rows of each part of a sequence, `[n, 2]`."""
    pairs = np.asarray(sequence)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(
            f"sequence is {pairs.dtype} of shape {pairs.shape}; it must be integers [Q, 2], task and example."
        )
    if epochs != 1:
        raise ValueError(
            f"epochs is {epochs}; it must be 1 with a sequence, which says all that is shown."
        )
    if not len(pairs):
        raise ValueError("sequence is empty; it must hold one or more examples.")
    checks.integer("num_stages", num_stages, 1, len(pairs))
    for step, (task, example) in enumerate(pairs):
        size = 0
        if 0 <= task < len(train_rows):
            size = 0 if train_rows[task] is None else len(train_rows[task])
        if not 0 <= example < size:
            raise ValueError(
                f"sequence[{step}] is task {task}, example {example}; there must be such a training example."
            )
    firsts = np.array([0 if rows is None else rows[0] for rows in train_rows])
    rows = np.stack([pairs[:, 0], firsts[pairs[:, 0]] + pairs[:, 1]], axis=1).astype(np.int32)
    return np.array_split(rows, num_stages)
