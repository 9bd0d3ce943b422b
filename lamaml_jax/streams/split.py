"""Images whose classes arrive a few at a time, each task with a head of its own: Split CIFAR-100, TinyImageNet, yours.

Dimensions: T tasks, N training and M evaluation examples per task, C classes, K classes per task, B batch.
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
    Stream,
    all_images,
    check_samples,
    head_mask,
)
from lamaml_jax.streams.normalise import Normalisation, normalisation_of, normalised_inputs
from lamaml_jax.streams.parts.own_images import ImageArrays, checked_images
from lamaml_jax.types import Setting

ClassOrder: TypeAlias = Literal["random", "superclass"]

_CIFAR100 = Normalisation((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
_TINY_IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_BRIGHTNESS = 63 / 255


def split_cifar100(
    dataset: ImageDataset | ImageArrays,
    *,
    num_tasks: int | None = None,
    classes_per_task: int = 5,
    samples_per_task: int | None = None,
    class_order: ClassOrder = "random",
    augmentation: bool = True,
    eval_split: EvalSplit = "test",
    batch_size: int = 10,
    epochs: int = 1,
) -> Benchmark:
    """Return Split CIFAR-100: K classes per task, in an order that each seed draws; the task is known at test.

    A tenth of each class's training images is held out for validation, whatever is evaluated. Training images are
    cropped after padding by 4 pixels, flipped, and made brighter or darker by up to 63/255, anew in each epoch, unless
    there is to be no augmentation.

    Args:
        dataset: CIFAR-100, or images like it, with equally many of each class; of a dataset with unequal numbers,
            each class's first images are taken, as many as the rarest class has; or arrays as `from_dataset` takes
            them.
        num_tasks: T, at most C / K, which None stands for; the first tasks are the same for every T.
        classes_per_task: K, which divides C.
        samples_per_task: Training images of a task before a tenth is held out, a multiple of K; None takes all.
        class_order: "random", or one "superclass" per task, in random order and with its classes in random order.
        augmentation: Whether training images are cropped, flipped and made brighter or darker.
        eval_split: Evaluate on the "test" images, or on those held out for "validation".
        batch_size: B.
        epochs: Passes over each task.

    Raises:
        ValueError: An argument is out of its range, or images have other channels than the dataset.
    """
    return _split_classes(
        checked_images(dataset),
        _CIFAR100,
        num_tasks=num_tasks,
        classes_per_task=classes_per_task,
        samples_per_task=samples_per_task,
        class_order=class_order,
        eval_split=eval_split,
        batch_size=batch_size,
        epochs=epochs,
        brightness=_BRIGHTNESS,
        augmentation=augmentation,
    )


def split_tiny_imagenet(
    dataset: ImageDataset | ImageArrays,
    *,
    num_tasks: int | None = None,
    classes_per_task: int = 5,
    samples_per_task: int | None = None,
    augmentation: bool = True,
    eval_split: EvalSplit = "test",
    batch_size: int = 10,
    epochs: int = 1,
) -> Benchmark:
    """Return Split TinyImageNet-200, like `split_cifar100` but with no change of brightness and no superclasses.

    Args:
        dataset: TinyImageNet-200, or images like it.
        num_tasks: See `split_cifar100`, like all that follow.
        classes_per_task: See `split_cifar100`.
        samples_per_task: See `split_cifar100`.
        augmentation: Whether training images are cropped and flipped.
        eval_split: See `split_cifar100`.
        batch_size: See `split_cifar100`.
        epochs: See `split_cifar100`.

    Raises:
        ValueError: An argument is out of its range, or images have other channels than the dataset.
    """
    return _split_classes(
        checked_images(dataset),
        _TINY_IMAGENET,
        num_tasks=num_tasks,
        classes_per_task=classes_per_task,
        samples_per_task=samples_per_task,
        class_order="random",
        eval_split=eval_split,
        batch_size=batch_size,
        epochs=epochs,
        brightness=0.0,
        augmentation=augmentation,
    )


def split(
    dataset: ImageDataset | ImageArrays,
    *,
    num_tasks: int | None = None,
    classes_per_task: int = 5,
    samples_per_task: int | None = None,
    class_order: ClassOrder = "random",
    augmentation: bool = True,
    eval_split: EvalSplit = "test",
    batch_size: int = 10,
    epochs: int = 1,
) -> Benchmark:
    """Return the classes of any images a few at a time, as `split_cifar100` does.

    Images are normalised with the mean and standard deviation of each channel of the training images.

    Args:
        dataset: The images; see `split_cifar100`.
        num_tasks: See `split_cifar100`.
        classes_per_task: See `split_cifar100`.
        samples_per_task: See `split_cifar100`.
        class_order: See `split_cifar100`.
        augmentation: See `split_cifar100`.
        eval_split: See `split_cifar100`.
        batch_size: See `split_cifar100`.
        epochs: See `split_cifar100`.

    Raises:
        ValueError: An argument is out of its range.
    """
    dataset = checked_images(dataset)
    return _split_classes(
        dataset,
        normalisation_of(dataset.train_images),
        num_tasks=num_tasks,
        classes_per_task=classes_per_task,
        samples_per_task=samples_per_task,
        class_order=class_order,
        eval_split=eval_split,
        batch_size=batch_size,
        epochs=epochs,
        brightness=_BRIGHTNESS,
        augmentation=augmentation,
    )


def _split_classes(
    dataset: ImageDataset,
    normalisation: Normalisation,
    *,
    num_tasks: int | None,
    classes_per_task: int,
    samples_per_task: int | None,
    class_order: ClassOrder,
    eval_split: EvalSplit,
    batch_size: int,
    epochs: int,
    brightness: float,
    augmentation: bool,
) -> Benchmark:
    checks.choice("augmentation", augmentation, Literal[True, False])
    checks.choice("eval_split", eval_split, EvalSplit)
    checks.integer("batch_size", batch_size, 1)
    checks.integer("epochs", epochs, 1)
    _check_channels(dataset, normalisation)
    train, test = _rows_by_class(dataset)
    num_classes = len(train)
    checks.divisor("classes_per_task", classes_per_task, num_classes, "the number of classes")
    num_tasks = num_classes // classes_per_task if num_tasks is None else num_tasks
    checks.integer("num_tasks", num_tasks, 1, num_classes // classes_per_task)
    draw_classes = _class_draw(dataset, class_order, num_classes, classes_per_task)
    if samples_per_task is None:
        samples_per_task = classes_per_task * train.shape[1]
    per_class = _samples_per_class(samples_per_task, classes_per_task, train.shape[1])
    held_out = per_class // 10
    kept = (per_class - held_out) * classes_per_task
    check_samples(
        samples_per_task,
        kept,
        eval_split=eval_split,
        least_for_validation=10 * classes_per_task,
        batch_size=batch_size,
    )

    def make_stream(key: chex.PRNGKey) -> Stream:
        key_classes, key_split = jax.random.split(key)
        classes = draw_classes(key_classes)[: num_tasks * classes_per_task]
        order = jax.random.permutation(key_split, jnp.asarray(train), axis=1, independent=True)
        chosen = order[:, :per_class]
        evaluated = jnp.asarray(test) if eval_split == "test" else chosen[:, :held_out]

        def examples(rows: jax.Array) -> Examples:
            labels = jnp.broadcast_to(jnp.arange(len(classes))[:, None], rows[classes].shape)
            return Examples(*(a.reshape(num_tasks, -1) for a in (rows[classes], labels)))

        return Stream(examples(chosen[:, held_out:]), examples(evaluated), ())

    setting = Setting(
        num_tasks=num_tasks,
        num_classes=num_tasks * classes_per_task,
        class_mask=head_mask(num_tasks, classes_per_task),
        batch_size=batch_size,
        batches_per_epoch=-(-kept // batch_size),
        epochs=epochs,
    )
    images = all_images(dataset)
    inputs = normalised_inputs(normalisation, brightness=brightness, augmentation=augmentation)
    return Benchmark(setting, images, make_stream, inputs)


def _check_channels(dataset: ImageDataset, normalisation: Normalisation) -> None:
    shape, channels = dataset.train_images.shape[1:], len(normalisation.mean)
    if shape[-1] != channels:
        raise ValueError(
            f"dataset has images of shape {shape}; they must have {channels} channels, each with its mean and "
            "deviation: streams.from_dataset(dataset, 'split') takes those of any images."
        )


def _rows_by_class(dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of each class's training images `[C, N]` and test images `[C, M]` among all images."""
    num_classes = dataset.train_labels.max() + 1

    def rows(labels: np.ndarray, first: int) -> np.ndarray:
        fewest = np.bincount(labels, minlength=num_classes).min()
        if not fewest or len(np.bincount(labels)) > num_classes:
            raise ValueError(
                f"{dataset.name} has classes without training or without test images; every class must have both."
            )
        return np.stack([first + np.flatnonzero(labels == c)[:fewest] for c in range(num_classes)])

    return rows(dataset.train_labels, 0), rows(dataset.test_labels, len(dataset.train_labels))


def _class_draw(
    dataset: ImageDataset, class_order: ClassOrder, num_classes: int, classes_per_task: int
) -> Callable[[chex.PRNGKey], jax.Array]:
    """Return `draw(key) -> classes [C]`, K after K for the tasks in order."""
    checks.choice("class_order", class_order, ClassOrder)
    if class_order == "random":
        return functools.partial(jax.random.permutation, x=num_classes)
    groups = dataset.superclasses
    if groups is None:
        raise ValueError(
            f"class_order is 'superclass'; it must be 'random', as {dataset.name} has no superclasses."
        )
    sizes = sorted(set(np.bincount(groups)))
    if len(groups) != num_classes or sizes != [classes_per_task]:
        raise ValueError(
            f"classes_per_task is {classes_per_task}; with class_order 'superclass' the {num_classes} classes must be "
            f"in superclasses of that size, and {dataset.name} has {len(groups)} in superclasses of "
            f"{', '.join(map(str, sizes))}."
        )
    by_group = jnp.asarray(np.argsort(groups, kind="stable").reshape(-1, classes_per_task))

    def draw(key: chex.PRNGKey) -> jax.Array:
        key_groups, key_within = jax.random.split(key)
        within = jax.random.permutation(key_within, by_group, axis=1, independent=True)
        return jax.random.permutation(key_groups, within).ravel()

    return draw


def _samples_per_class(samples_per_task: int, classes_per_task: int, available: int) -> int:
    highest = available * classes_per_task
    checks.integer("samples_per_task", samples_per_task, classes_per_task, highest)
    if samples_per_task % classes_per_task:
        raise ValueError(
            f"samples_per_task is {samples_per_task}; it must be a multiple of classes_per_task, {classes_per_task}."
        )
    return samples_per_task // classes_per_task
