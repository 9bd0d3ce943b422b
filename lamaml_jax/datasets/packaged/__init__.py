"""The part of MNIST that comes with this package; see LICENSE.md beside this file."""

import importlib.resources

import numpy as np

from lamaml_jax.datasets.image_dataset import ImageDataset


def load_packaged_mnist() -> ImageDataset:
    """Load the packaged subset of MNIST, which needs no other file and no network.

    Returns:
        10,000 train and 2,000 test images `[N, 28, 28, 1]`, as many of each digit, shuffled.
    """
    path = importlib.resources.files(__name__).joinpath("mnist_subset.npz")
    with path.open("rb") as file, np.load(file) as arrays:
        return ImageDataset(
            name="mnist_subset",
            train_images=arrays["train_images"][..., None],
            train_labels=arrays["train_labels"].astype(np.int32),
            test_images=arrays["test_images"][..., None],
            test_labels=arrays["test_labels"].astype(np.int32),
            source="packaged subset",
        )
