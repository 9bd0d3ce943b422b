"""Images of noise in many classes, for the split benchmarks, and what augmentation may make of an image."""

import functools
from typing import Any

import numpy as np

from lamaml_jax.datasets import ImageDataset

PADDING = 4
CIFAR = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
TINY = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIDE, NUM_CLASSES, TRAIN, TEST = 8, 20, 20, 5  # images per class


@functools.cache
def noise() -> ImageDataset:
    """Return images of noise without black, whose labels come in no order, in superclasses of five classes."""
    rng = np.random.default_rng(0)

    def draw(per_class: int) -> tuple[Any, Any]:
        labels = rng.permutation(np.repeat(np.arange(NUM_CLASSES, dtype=np.int32), per_class))
        return rng.integers(1, 256, (len(labels), SIDE, SIDE, 3), np.uint8), labels

    superclasses = rng.permutation(np.arange(NUM_CLASSES, dtype=np.int32) // 5)
    return ImageDataset("noise", *draw(TRAIN), *draw(TEST), "made up", superclasses)


def windows(image: np.ndarray) -> list[np.ndarray]:
    """Return the 81 crops of an image with black around it, row by row."""
    around = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    offsets = range(2 * PADDING + 1)
    return [around[i : i + SIDE, j : j + SIDE] for i in offsets for j in offsets]


def variants(image: np.ndarray) -> list[np.ndarray]:
    """Return the crops of an image, each as it is and mirrored."""
    return [variant for crop in windows(image) for variant in (crop, np.fliplr(crop))]


def denormalised(x: Any, constants: Any) -> np.ndarray:
    """Return a network's inputs as images in [0, 1]."""
    mean, std = constants
    return np.asarray(x) * np.array(std) + np.array(mean)
