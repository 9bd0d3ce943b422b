"""What every benchmark is: images, or inputs of any kind, that live on the device once, and per seed the tasks of them.

A seed's `Stream` holds indices into the images and the parameters of its transforms; gathering and transforming happen
inside the compiled program.

Dimensions: T tasks, N training and M evaluation examples per task (the most, where tasks differ), I images, H height, W
width, B batch.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import chex
import jax
import numpy as np
import numpy.typing as npt

from lamaml_jax.datasets import ImageDataset
from lamaml_jax.types import Setting

_ALIGNMENT = 64

EvalSplit: TypeAlias = Literal["test", "validation"]
Heads: TypeAlias = Literal["shared", "per_task"]


class Examples(NamedTuple):
    """The examples of all tasks; where one has fewer than N, what follows is padding, of which labels are -1.

    Attributes:
        image: Rows of the image array `[T, N]`.
        label: Their labels `[T, N]`, counted over all heads, or targets `[T, N, ...]` of a loss of the stream's own.
        task: Their tasks `[T, N]`, where rows are parts of a given sequence; None where each row is a task.
    """

    image: jax.Array
    label: jax.Array
    task: jax.Array | None = None


class Stream(NamedTuple):
    """One seed's tasks: training and evaluation examples, and each task's transform as a pytree of `[T, ...]`."""

    train: Examples
    test: Examples
    transform: chex.ArrayTree


class Inputs(NamedTuple):
    """How images become the network's inputs.

    Attributes:
        evaluation: `evaluation(images, index [B], transform) -> x [B, ...]`, float32, given one task's transform.
        training: `training(key, images, index [B], transform) -> x [B, ...]`: the same, with augmentation drawn anew
            for each key where the benchmark augments its images.
    """

    evaluation: Callable[[jax.Array, jax.Array, Any], jax.Array]
    training: Callable[[chex.PRNGKey, jax.Array, jax.Array, Any], jax.Array]


def all_images(dataset: ImageDataset) -> np.ndarray:
    """Return the training and then the test images `[I, H, W, C]`.

    The array starts where JAX demands, so that all CPU devices use this very memory instead of a copy each.
    """
    return joined([dataset.train_images, dataset.test_images], np.uint8)


def joined(parts: Sequence[np.ndarray], dtype: npt.DTypeLike) -> np.ndarray:
    """Return arrays `[I, ...]` one after the other, as `all_images` does."""
    dtype = np.dtype(dtype)
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    aligned = memory[-memory.ctypes.data % _ALIGNMENT :][:size]
    return np.concatenate(parts, out=aligned.view(dtype).reshape(shape), casting="same_kind")


def head_mask(num_tasks: int, classes_per_head: int, *, shared: bool = False) -> np.ndarray:
    """Return the bool mask `[T, C]` of each task's outputs: a head each in their order, or one shared by all."""
    num_heads = 1 if shared else num_tasks
    mask = np.kron(np.eye(num_heads), np.ones((1, classes_per_head))) > 0
    return np.broadcast_to(mask, (num_tasks, num_heads * classes_per_head))


def check_samples(
    samples_per_task: int,
    kept: int,
    *,
    eval_split: EvalSplit,
    least_for_validation: int,
    batch_size: int,
) -> None:
    """Check that what a task keeps of its training images, when some are held out, fills a batch.

    Args:
        samples_per_task: Training images of a task before any is held out.
        kept: Those that are trained on.
        eval_split: "validation" needs some to be held out.
        least_for_validation: The fewest of which some are.
        batch_size: B.

    Raises:
        ValueError: There are too few.
    """
    held_out = samples_per_task - kept
    if eval_split == "validation" and not held_out:
        raise ValueError(
            f"samples_per_task is {samples_per_task}; to hold out a tenth for validation it must be at least "
            f"{least_for_validation}."
        )
    if kept < batch_size:
        left = "what is left when a tenth is held out for validation" if held_out else "it"
        raise ValueError(
            f"samples_per_task is {samples_per_task}; {left} must be at least the batch size, {batch_size}."
        )


class Benchmark(NamedTuple):
    """A stream of tasks to learn.

    Attributes:
        setting: Its static facts.
        images: uint8, float or int `[I, ...]`, training images followed by test images.
        make_stream: `make_stream(key) -> Stream`, one seed's draw of tasks.
        inputs: How images become inputs.
        train_sizes: Each task's training examples, where they are not equally many.
        test_sizes: Each task's evaluation examples, where they are not equally many.
        stages: The rows of `Stream.train` that are learnt, in order; None stands for all.
        is_sequence: Whether these rows are parts of a given sequence, shown in its order, and not tasks.
    """

    setting: Setting
    images: np.ndarray
    make_stream: Callable[[chex.PRNGKey], Stream]
    inputs: Inputs
    train_sizes: tuple[int, ...] | None = None
    test_sizes: tuple[int, ...] | None = None
    stages: tuple[int, ...] | None = None
    is_sequence: bool = False

    def __repr__(self) -> str:
        """Say what it is of, without arrays."""
        setting = self.setting
        return (
            f"Benchmark({setting.num_tasks} tasks, {setting.num_classes} classes, {len(self.images)} inputs of shape "
            f"{self.images.shape[1:]})"
        )

    def learnt(self) -> tuple[int, ...]:
        """Return the rows of `Stream.train` that are learnt, in order."""
        return tuple(range(self.setting.num_tasks)) if self.stages is None else self.stages

    def num_batches(self, row: int) -> int:
        """Return how many batches arrive while a row of `Stream.train` is learnt, over all epochs."""
        setting = self.setting
        if self.train_sizes is None:
            return setting.epochs * setting.batches_per_epoch
        return setting.epochs * -(-self.train_sizes[row] // setting.batch_size)
