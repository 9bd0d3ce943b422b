"""Images of a user's own, checked as they are taken.

Dimensions: N images, H height, W width, C colour channels.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lamaml_jax.datasets import ImageDataset

ImageArrays: TypeAlias = tuple[
    tuple[npt.ArrayLike, npt.ArrayLike], tuple[npt.ArrayLike, npt.ArrayLike]
]
"""Training images and labels, test images and labels: uint8 `[N, H, W]` or `[N, H, W, C]`, and integers `[N]`."""


def checked_images(dataset: ImageDataset | ImageArrays) -> ImageDataset:
    """Return a dataset whose arrays are what they must be.

    Raises:
        ValueError: In one sentence, what is wrong with them.
    """
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
    x, y = _array(f"{part}_images", images), _array(f"{part}_labels", labels)
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


def _array(name: str, values: npt.ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} has rows of unequal length; it must be one array.") from None
