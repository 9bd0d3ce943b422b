"""Images that are told apart by their colours, in CIFAR-100's and TinyImageNet's sizes, and runs on them."""

import functools
from typing import Any

import numpy as np

from experiments.runs.config import Config
from experiments.runs.making import make_config
from lamaml_jax.datasets import ImageDataset


@functools.cache
def photographs(classes: int = 100, size: int = 32) -> ImageDataset:
    """Return 10 images of each class for training and 2 for test, each a colour of its class with noise."""
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (classes, 1, 1, 3))

    def draw(per_class: int) -> tuple[Any, Any]:
        labels = np.repeat(np.arange(classes, dtype=np.int32), per_class)
        noise = rng.integers(-20, 21, (len(labels), size, size, 3))
        return np.clip(colors[labels] + noise, 0, 255).astype(np.uint8), labels

    name = {100: "cifar100", 200: "tiny_imagenet"}[classes]
    return ImageDataset(name, *draw(10), *draw(2), source="made up")


def small(learner: str, *assignments: str, **changes: Any) -> Config:
    """Return two tasks of 50 images on a network of a few units."""
    settings: dict[str, Any] = {
        "benchmark": "split_cifar100",
        "assignments": list(assignments),
        "seeds": (0, 1),
        "stream": {"num_tasks": 2},
        "network": {"filters": (4, 4), "hidden": (8,)},
        **changes,
    }
    return make_config(learner=learner, **settings)
