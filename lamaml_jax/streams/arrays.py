"""Streams of one's own data: a list of arrays per task, of any shape, kind and size.

Dimensions: T tasks, N examples of a task, B batch, C classes over all heads, Q examples of a given sequence.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from lamaml_jax import checks
from lamaml_jax.streams.benchmark import (
    Benchmark,
    EvalSplit,
    Examples,
    Heads,
    Stream,
    joined,
)
from lamaml_jax.streams.parts.heads import joined_labels, outputs_of
from lamaml_jax.streams.parts.inputs import Augment, Transform, inputs_by
from lamaml_jax.streams.parts.own_data import (
    Arrays,
    Pair,
    checked_tasks,
    is_classes,
    stored,
    stored_dtype,
)
from lamaml_jax.streams.parts.shown import (
    Rows,
    Shown,
    all_examples,
    held_out_examples,
    sequence_of_examples,
)
from lamaml_jax.types import Setting


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
    held_out: float | None = None,
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
        transform: `transform(x [B, ...]) -> inputs [B, ...]`, pure, what the network sees; None scales uint8 to [0, 1]
            and takes others as they are.
        augment: `augment(key, x [B, ...]) -> x`, pure and of the same shape and type, applied to training examples
            before `transform`, anew in each epoch; what it draws for an example must not depend on the others.
        sequence: Task and example of every training step `[Q, 2]`, in the order in which they arrive, for streams whose
            tasks are blurred, mixed or come back; it is cut into `num_stages` parts, after each of which all tasks are
            evaluated. A batch may then hold several tasks.
        num_stages: Parts of the sequence; None cuts as many as there are training tasks.
        eval_split: Evaluate on the "test" examples, or on those held out for "validation".
        held_out: Share of each task's training examples that "validation" holds out, which each seed draws; in (0, 1),
            a tenth by default. "test" holds nothing out, and so takes None alone.
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
    if held_out is not None and eval_split != "validation":
        raise ValueError(
            f"held_out is {held_out!r}; it must be None with eval_split {eval_split!r}, which holds nothing out."
        )
    checks.integer("batch_size", batch_size, 1)
    checks.integer("epochs", epochs, 1)
    train, test = checked_tasks(train_tasks, test_tasks)
    outputs = outputs_of(train, test, heads, num_classes)
    labels = joined_labels(train, test, outputs.offsets)
    train_rows, test_rows = _rows(train, test)
    if sequence is not None:
        _check_sequence_alone(eval_split, epochs)
        shown = sequence_of_examples(train_rows, test_rows, sequence, num_stages)
    elif num_stages is not None:
        raise ValueError(f"num_stages is {num_stages}; it must be None without a sequence.")
    elif eval_split == "validation":
        shown = held_out_examples(train_rows, 0.1 if held_out is None else held_out)
    else:
        shown = all_examples(train_rows, test_rows)

    def make_stream(key: chex.PRNGKey) -> Stream:
        drawn = shown.draw(key)
        learnt = _examples(drawn.train, labels)
        if drawn.tasks is not None:
            learnt = learnt._replace(task=_padded(drawn.tasks))
        return Stream(learnt, _examples(drawn.test, labels), ())

    inputs = _held_inputs([task for task in (*train, *test) if task is not None])
    example = jax.ShapeDtypeStruct((batch_size, *inputs.shape[1:]), inputs.dtype)
    mask = outputs.mask()
    setting = Setting(
        num_tasks=len(train),
        num_classes=mask.shape[1],
        class_mask=mask,
        batch_size=batch_size,
        batches_per_epoch=-(-max(shown.train_sizes) // batch_size),
        epochs=epochs,
    )
    return Benchmark(
        setting,
        inputs,
        make_stream,
        inputs_by(transform, augment, example),
        train_sizes=_where_unequal(shown.train_sizes),
        test_sizes=_where_unequal(shown.test_sizes),
        stages=_stages(train, shown, is_sequence=sequence is not None),
        is_sequence=sequence is not None,
    )


def _held_inputs(tasks: Sequence[Pair]) -> np.ndarray:
    """Return the inputs of all tasks, one after the other, in one type that holds them all."""
    dtype = np.result_type(*(stored_dtype(x) for x, _ in tasks))
    return joined([stored("an input", x, dtype) for x, _ in tasks], dtype)


def _rows(
    train: Sequence[Pair | None], test: Sequence[Pair]
) -> tuple[list[np.ndarray | None], list[np.ndarray]]:
    """Return at which rows of all inputs those of each task are; None of a task that is only tested."""
    sizes = [len(task[0]) for task in (*train, *test) if task is not None]
    places = iter(np.split(np.arange(sum(sizes)), np.cumsum(sizes[:-1])))
    return [None if task is None else next(places) for task in train], list(places)


def _check_sequence_alone(eval_split: EvalSplit, epochs: int) -> None:
    if eval_split == "validation":
        raise ValueError(
            "eval_split is 'validation'; it must be 'test' with a sequence, which holds nothing out."
        )
    if epochs != 1:
        raise ValueError(
            f"epochs is {epochs}; it must be 1 with a sequence, which says all that is shown."
        )


def _examples(rows: Sequence[Rows], labels: np.ndarray) -> Examples:
    """Return the examples at these rows, `[N]` each, all padded to the most."""
    image = _padded(rows)
    label = jnp.asarray(labels)[image]
    if is_classes(labels):
        sizes = np.array([len(of_one) for of_one in rows])
        label = jnp.where(jnp.arange(image.shape[1]) >= sizes[:, None], -1, label)
    return Examples(image, label)


def _padded(rows: Sequence[Rows]) -> jax.Array:
    most = max(len(of_one) for of_one in rows)
    return jnp.stack([jnp.pad(jnp.asarray(r, jnp.int32), (0, most - len(r))) for r in rows])


def _where_unequal(sizes: Sequence[int]) -> tuple[int, ...] | None:
    return tuple(sizes) if len(set(sizes)) > 1 else None


def _stages(
    train: Sequence[Pair | None], shown: Shown, *, is_sequence: bool
) -> tuple[int, ...] | None:
    """Return what is learnt, in order; None stands for every task."""
    if is_sequence:
        return tuple(range(len(shown.train_sizes)))
    learnt = tuple(i for i, task in enumerate(train) if task is not None)
    return None if len(learnt) == len(train) else learnt
