"""Raw images: full datasets prepared by tfds without TensorFlow, and the packaged MNIST subset."""

from lamaml_jax.datasets.image_dataset import DatasetError, ImageDataset, checksum
from lamaml_jax.datasets.load import load
from lamaml_jax.datasets.packaged import load_packaged_mnist

__all__ = ["DatasetError", "ImageDataset", "checksum", "load", "load_packaged_mnist"]
