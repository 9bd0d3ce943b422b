"""Images of noise in many classes, for the split benchmarks."""

import functools
from typing import Any

import numpy as np

from lamaml_jax.datasets import ImageDataset

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
