"""FashionMNIST for tfds, prepared without TensorFlow."""

from lamaml_jax.datasets.fashion_mnist.fashion_mnist_dataset_builder import Builder

__all__ = ["Builder"]
