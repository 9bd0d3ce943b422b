"""The paper's benchmarks by name, and their transforms of any other set of images.

Dimensions: N images, H height, W width, C colour channels.
"""

import inspect
from collections.abc import Callable
from typing import Any

from lamaml_jax import hyper
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams.benchmark import Benchmark
from lamaml_jax.streams.mnist import (
    mnist_many_permutations,
    mnist_permutations,
    mnist_rotations,
)
from lamaml_jax.streams.parts.own_images import ImageArrays
from lamaml_jax.streams.pixels import many_permutations, permutations, rotations
from lamaml_jax.streams.split import split, split_cifar100, split_tiny_imagenet

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "mnist_rotations": mnist_rotations,
    "mnist_permutations": mnist_permutations,
    "mnist_many_permutations": mnist_many_permutations,
    "split_cifar100": split_cifar100,
    "split_tiny_imagenet": split_tiny_imagenet,
}
"""By name: factories `factory(dataset, *, ...) -> Benchmark`."""

TRANSFORMS: dict[str, Callable[..., Benchmark]] = {
    "rotations": rotations,
    "permutations": permutations,
    "many_permutations": many_permutations,
    "split": split,
}
"""By name: the same for any images, with as many classes as these have and normalised by what these are."""


def from_dataset(dataset: ImageDataset | ImageArrays, benchmark: str, **settings: Any) -> Benchmark:
    """Return one of the paper's transforms of any set of images.

    "rotations" turns and "permutations" shuffles the pixels of each task in its own way, all tasks having the same
    classes, as many as the training labels have; "many_permutations" has 100 small tasks. Their inputs are flat, of all
    pixels and channels. "split" gives each task a few of the classes, a head of its own, augmentation, and the mean and
    standard deviation of the training images to be normalised with. The five names of `BENCHMARKS` are those benchmarks
    as the paper has them: with MNIST's ten classes, or with the published means and deviations of CIFAR-100 and
    TinyImageNet.

    Args:
        dataset: Such as `datasets.load` returns, or `((train_images, train_labels), (test_images, test_labels))`:
            images uint8 `[N, H, W]` or `[N, H, W, C]`, of one shape; labels integers `[N]`, counted from 0.
        benchmark: A name in `TRANSFORMS` or in `BENCHMARKS`.
        **settings: The keywords of that factory, such as `num_tasks`, `samples_per_task`, `heads`, `classes_per_task`
            or `augmentation`.

    Raises:
        ValueError: In one sentence, what is wrong with the images, a name or a setting, and what is allowed.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import streams
        >>> images, labels = np.zeros((60, 8, 8, 3), np.uint8), np.arange(60) % 6
        >>> dataset = (images, labels), (images[:12], labels[:12])
        >>> turned = streams.from_dataset(dataset, "rotations", num_tasks=3, samples_per_task=50)
        >>> turned.setting.num_tasks, turned.setting.num_classes
        (3, 6)
        >>> parted = streams.from_dataset(dataset, "split", classes_per_task=2)
        >>> parted.setting.num_tasks, parted.setting.num_classes
        (3, 6)
    """
    factories = {**TRANSFORMS, **BENCHMARKS}
    if not isinstance(benchmark, str) or benchmark not in factories:
        raise ValueError(hyper.unknown("benchmark", str(benchmark), factories))
    parameters = inspect.signature(factories[benchmark]).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for name in settings:
        if name not in known:
            raise ValueError(hyper.unknown(f"setting of {benchmark}", name, known))
    return factories[benchmark](dataset, **settings)
