"""Images whose pixels each task turns or shuffles in its own way, all tasks having the same classes.

Dimensions: T tasks, N training and M evaluation examples per task, P values of an image (of all pixels and
channels), B batch, C classes.
"""

import functools
from collections.abc import Callable
from typing import Literal, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import checks
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams.benchmark import (
    Benchmark,
    EvalSplit,
    Examples,
    Heads,
    Inputs,
    Stream,
    all_images,
    check_samples,
    head_mask,
)
from lamaml_jax.streams.parts.own_images import ImageArrays, checked_images
from lamaml_jax.types import Setting

Interpolation: TypeAlias = Literal["bilinear", "nearest"]


def rotations(
    dataset: ImageDataset | ImageArrays,
    *,
    num_tasks: int = 20,
    samples_per_task: int = 1000,
    interpolation: Interpolation = "bilinear",
    heads: Heads = "shared",
    num_classes: int | None = None,
    eval_split: EvalSplit = "test",
    batch_size: int = 10,
    epochs: int = 1,
) -> Benchmark:
    """Return Rotations (Lopez-Paz and Ranzato 2017): task t turns every image by one fixed angle.

    The angle is drawn uniformly from the t-th of T equal bins of [0, 180] degrees, counter-clockwise about the centre;
    what turns in from outside is black, and all channels turn alike. The network's inputs are flat `[B, P]`.

    Args:
        dataset: Square images, or arrays as `from_dataset` takes them.
        num_tasks: T.
        samples_per_task: Training images that each task draws, without replacement, from the training set.
        interpolation: "bilinear", or "nearest" as in GEM's generator.
        heads: "shared" outputs for all tasks, or outputs "per_task", whose id is then known at test.
        num_classes: C; None takes one more than the highest training label.
        eval_split: Evaluate on the whole "test" set, or on a tenth of each task's training data held out for
            "validation".
        batch_size: B.
        epochs: Passes over each task.

    Raises:
        ValueError: An argument is out of its range, the images are not square, or a label is not below C.
    """
    checks.choice("interpolation", interpolation, Interpolation)
    dataset = checked_images(dataset)
    _, side, width, channels = dataset.train_images.shape
    if side != width:
        raise ValueError(
            f"{dataset.name} has images of {side}x{width} pixels; they must be square to be turned."
        )

    def transforms(key: chex.PRNGKey) -> jax.Array:
        return 180 / num_tasks * (jnp.arange(num_tasks) + jax.random.uniform(key, (num_tasks,)))

    return _transformed_images(
        dataset,
        transforms,
        functools.partial(_rotate, side=side, channels=channels, interpolation=interpolation),
        num_tasks=num_tasks,
        samples_per_task=samples_per_task,
        heads=heads,
        num_classes=num_classes,
        eval_split=eval_split,
        batch_size=batch_size,
        epochs=epochs,
    )


def permutations(
    dataset: ImageDataset | ImageArrays,
    *,
    num_tasks: int = 20,
    samples_per_task: int = 1000,
    heads: Heads = "shared",
    num_classes: int | None = None,
    eval_split: EvalSplit = "test",
    batch_size: int = 10,
    epochs: int = 1,
) -> Benchmark:
    """Return Permutations (Kirkpatrick et al. 2017): each task shuffles the pixels by one fixed permutation.

    Of images with several channels all P values are shuffled together. The network's inputs are flat `[B, P]`.

    Args:
        dataset: The images.
        num_tasks: See `rotations`, like all that follow.
        samples_per_task: See `rotations`.
        heads: See `rotations`.
        num_classes: See `rotations`.
        eval_split: See `rotations`.
        batch_size: See `rotations`.
        epochs: See `rotations`.

    Raises:
        ValueError: An argument is out of its range, or a label is not below C.
    """
    dataset = checked_images(dataset)
    num_values = int(np.prod(dataset.train_images.shape[1:]))

    def transforms(key: chex.PRNGKey) -> jax.Array:
        permute = functools.partial(jax.random.permutation, x=num_values)
        return jax.lax.map(permute, jax.random.split(key, num_tasks))

    return _transformed_images(
        dataset,
        transforms,
        lambda pixels, permutation: pixels[:, permutation] / 255.0,
        num_tasks=num_tasks,
        samples_per_task=samples_per_task,
        heads=heads,
        num_classes=num_classes,
        eval_split=eval_split,
        batch_size=batch_size,
        epochs=epochs,
    )


many_permutations = functools.partial(permutations, num_tasks=100, samples_per_task=200)
"""Many Permutations: `permutations` with 100 tasks of 200 images."""


def _transformed_images(
    dataset: ImageDataset,
    transforms: Callable[[chex.PRNGKey], jax.Array],
    apply: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    num_tasks: int,
    samples_per_task: int,
    heads: Heads,
    num_classes: int | None,
    eval_split: EvalSplit,
    batch_size: int,
    epochs: int,
) -> Benchmark:
    """Return the benchmark whose tasks share their classes and differ in a transform of the pixels."""
    checks.choice("heads", heads, Heads)
    checks.choice("eval_split", eval_split, EvalSplit)
    num_train, num_test = len(dataset.train_labels), len(dataset.test_labels)
    checks.integer("num_tasks", num_tasks, 1)
    checks.integer("samples_per_task", samples_per_task, 1, num_train)
    checks.integer("batch_size", batch_size, 1)
    checks.integer("epochs", epochs, 1)
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    num_classes = _checked_classes(dataset, labels, num_classes)
    held_out = samples_per_task // 10 if eval_split == "validation" else 0
    kept = samples_per_task - held_out
    check_samples(
        samples_per_task,
        kept,
        eval_split=eval_split,
        least_for_validation=10,
        batch_size=batch_size,
    )
    offset = num_classes if heads == "per_task" else 0

    def make_stream(key: chex.PRNGKey) -> Stream:
        key_draw, key_transform = jax.random.split(key)
        train_pool: int | jax.Array = num_train
        if held_out:
            # Images that are held out for one task's validation are trained on by none.
            key_draw, key_split, key_validation = jax.random.split(key_draw, 3)
            train_pool, held_out_pool = jnp.split(
                jax.random.permutation(key_split, num_train), [num_train - num_train // 10]
            )
        train = _draw_per_task(key_draw, train_pool, (num_tasks, kept))
        test = jnp.broadcast_to(jnp.arange(num_train, num_train + num_test), (num_tasks, num_test))
        heads_start = offset * jnp.arange(num_tasks)[:, None]

        def examples(image: jax.Array) -> Examples:
            return Examples(image, jnp.asarray(labels, jnp.int32)[image] + heads_start)

        if held_out:
            test = _draw_per_task(key_validation, held_out_pool, (num_tasks, held_out))
        return Stream(examples(train), examples(test), transforms(key_transform))

    mask = head_mask(num_tasks, num_classes, shared=heads == "shared")
    setting = Setting(
        num_tasks=num_tasks,
        num_classes=mask.shape[1],
        class_mask=mask,
        batch_size=batch_size,
        batches_per_epoch=-(-kept // batch_size),
        epochs=epochs,
    )
    images = all_images(dataset).reshape(len(labels), -1)

    def inputs(images: jax.Array, index: jax.Array, transform: jax.Array) -> jax.Array:
        return apply(images[index], transform)

    return Benchmark(
        setting, images, make_stream, Inputs(inputs, lambda key, *arguments: inputs(*arguments))
    )


def _checked_classes(dataset: ImageDataset, labels: np.ndarray, num_classes: int | None) -> int:
    """Return the number of classes, in which all labels are."""
    reason = ""
    if num_classes is None:
        num_classes, reason = int(dataset.train_labels.max()) + 1, ", as the training labels do"
    checks.integer("num_classes", num_classes, 1)
    if labels.max() >= num_classes:
        raise ValueError(
            f"{dataset.name} has labels from {labels.min()} to {labels.max()}; "
            f"the benchmark's head takes 0 to {num_classes - 1}{reason}."
        )
    return num_classes


def _draw_per_task(key: chex.PRNGKey, pool: int | jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Draw `shape` [T, N] images from a pool, without replacement within a task."""
    draw = functools.partial(jax.random.choice, a=pool, shape=shape[1:], replace=False)
    return jax.lax.map(draw, jax.random.split(key, shape[0]))


def _rotate(
    pixels: jax.Array,
    degrees: jax.Array,
    *,
    side: int,
    channels: int,
    interpolation: Interpolation,
) -> jax.Array:
    """Return uint8 `pixels [B, P]` turned counter-clockwise, as floats in [0, 1]."""
    angle = jnp.deg2rad(degrees)
    centre = (side - 1) / 2
    rows, columns, channel = (grid.ravel() for grid in jnp.mgrid[:side, :side, :channels])
    y, x = rows - centre, columns - centre
    source_x = jnp.cos(angle) * x - jnp.sin(angle) * y + centre
    source_y = jnp.sin(angle) * x + jnp.cos(angle) * y + centre

    def tap(column: jax.Array, row: jax.Array, weight: jax.Array | float) -> jax.Array:
        inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
        index = jnp.where(inside, (row * side + column) * channels + channel, 0)
        return jnp.where(inside, weight, 0) * pixels[:, index] / 255.0

    if interpolation == "nearest":
        column, row = (jnp.floor(s + 0.5).astype(jnp.int32) for s in (source_x, source_y))
        return tap(column, row, 1.0)
    column, row = (jnp.floor(s).astype(jnp.int32) for s in (source_x, source_y))
    right, down = source_x - column, source_y - row
    return (
        tap(column, row, (1 - right) * (1 - down))
        + tap(column + 1, row, right * (1 - down))
        + tap(column, row + 1, (1 - right) * down)
        + tap(column + 1, row + 1, right * down)
    )
