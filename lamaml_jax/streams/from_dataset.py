"""The paper's benchmarks by name, and their transforms of any other set of images.

Dimensions: N images, H height, W width, C colour channels.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lamaml_jax import hyper
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams.benchmark import Benchmark
from lamaml_jax.streams.mnist import (
    mnist_many_permutations,
    mnist_permutations,
    mnist_rotations,
)
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

ImageArrays: TypeAlias = tuple[
    tuple[npt.ArrayLike, npt.ArrayLike], tuple[npt.ArrayLike, npt.ArrayLike]
]
"""Training images and labels, test images and labels: uint8 `[N, H, W]` or `[N, H, W, C]`, and integers `[N]`."""


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
    return factories[benchmark](_checked(dataset), **settings)


def _checked(dataset: ImageDataset | ImageArrays) -> ImageDataset:
    """Return a dataset whose arrays are what they must be."""
    train: tuple[npt.ArrayLike, npt.ArrayLike]
    test: tuple[npt.ArrayLike, npt.ArrayLike]
    if isinstance(dataset, ImageDataset):
        train, test = dataset[1:3], dataset[3:5]
    else:
        try:
            train, test = ((images, labels) for images, labels in dataset)
        except (TypeError, ValueError):
            raise ValueError(
                f"dataset is a {type(dataset).__name__}; it must be an ImageDataset, or a pair of pairs of arrays: "
                "((train_images, train_labels), (test_images, test_labels))."
            ) from None
    train_images, train_labels = _checked_part("train", *train)
    test_images, test_labels = _checked_part("test", *test)
    if test_images.shape[1:] != train_images.shape[1:]:
        raise ValueError(
            f"test_images has images of shape {test_images.shape[1:]}; they must be of shape {train_images.shape[1:]}, "
            "as those of train_images."
        )
    arrays = train_images, train_labels, test_images, test_labels
    if isinstance(dataset, ImageDataset):
        return ImageDataset(dataset.name, *arrays, dataset.source, dataset.superclasses)
    return ImageDataset("dataset", *arrays, "arrays")


def _checked_part(
    part: str, images: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return images `[N, H, W, C]` and their labels `[N]`."""
    x, y = np.asarray(images), np.asarray(labels)
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or not x.size:
        raise ValueError(
            f"{part}_images is {x.dtype} of shape {x.shape}; it must be uint8 [N, H, W] or [N, H, W, C], and not empty."
        )
    if not np.issubdtype(y.dtype, np.integer) or y.shape != x.shape[:1]:
        raise ValueError(
            f"{part}_labels is {y.dtype} of shape {y.shape}; it must be integers of shape {x.shape[:1]}, one per image."
        )
    if y.min() < 0 or y.max() > np.iinfo(np.int32).max:
        raise ValueError(
            f"{part}_labels has labels from {y.min()} to {y.max()}; they must be classes, counted from 0."
        )
    return x if x.ndim == 4 else x[..., None], y.astype(np.int32, copy=False)
