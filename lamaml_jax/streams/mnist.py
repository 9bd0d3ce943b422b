"""The paper's benchmarks on MNIST: `rotations` and `permutations` with the ten digits as classes.

They have ten outputs even where a subset lacks a digit.
"""

import functools

from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams import pixels
from lamaml_jax.streams.benchmark import Benchmark, EvalSplit, Heads
from lamaml_jax.streams.parts.own_images import ImageArrays
from lamaml_jax.streams.pixels import Interpolation


def mnist_rotations(
    dataset: ImageDataset | ImageArrays,
    *,
    num_tasks: int = 20,
    samples_per_task: int = 1000,
    interpolation: Interpolation = "bilinear",
    heads: Heads = "shared",
    eval_split: EvalSplit = "test",
    batch_size: int = 10,
    epochs: int = 1,
) -> Benchmark:
    """Return MNIST Rotations (Lopez-Paz and Ranzato 2017): task t turns every image by one fixed angle.

    The angle is drawn uniformly from the t-th of T equal bins of [0, 180] degrees, counter-clockwise about the centre;
    what turns in from outside is black.

    Args:
        dataset: MNIST, or images like it, or arrays as `from_dataset` takes them.
        num_tasks: T.
        samples_per_task: Training images that each task draws, without replacement, from the training set.
        interpolation: "bilinear", or "nearest" as in GEM's generator.
        heads: "shared" outputs for all tasks, or ten outputs "per_task", whose id is then known at test.
        eval_split: Evaluate on the whole "test" set, or on a tenth of each task's training data held out for
            "validation".
        batch_size: B.
        epochs: Passes over each task.

    Raises:
        ValueError: An argument is out of its range.
    """
    return pixels.rotations(
        dataset,
        num_tasks=num_tasks,
        samples_per_task=samples_per_task,
        interpolation=interpolation,
        heads=heads,
        num_classes=_DIGITS,
        eval_split=eval_split,
        batch_size=batch_size,
        epochs=epochs,
    )


def mnist_permutations(
    dataset: ImageDataset | ImageArrays,
    *,
    num_tasks: int = 20,
    samples_per_task: int = 1000,
    heads: Heads = "shared",
    eval_split: EvalSplit = "test",
    batch_size: int = 10,
    epochs: int = 1,
) -> Benchmark:
    """Return MNIST Permutations (Kirkpatrick et al. 2017): each task shuffles the pixels by one fixed permutation.

    Args:
        dataset: MNIST, or images like it.
        num_tasks: See `mnist_rotations`, like all that follow.
        samples_per_task: See `mnist_rotations`.
        heads: See `mnist_rotations`.
        eval_split: See `mnist_rotations`.
        batch_size: See `mnist_rotations`.
        epochs: See `mnist_rotations`.

    Raises:
        ValueError: An argument is out of its range.
    """
    return pixels.permutations(
        dataset,
        num_tasks=num_tasks,
        samples_per_task=samples_per_task,
        heads=heads,
        num_classes=_DIGITS,
        eval_split=eval_split,
        batch_size=batch_size,
        epochs=epochs,
    )


mnist_many_permutations = functools.partial(mnist_permutations, num_tasks=100, samples_per_task=200)
"""MNIST Many Permutations: `mnist_permutations` with 100 tasks of 200 images."""

_DIGITS = 10
