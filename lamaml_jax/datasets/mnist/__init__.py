"""MNIST for tfds, prepared without TensorFlow."""

from lamaml_jax.datasets.mnist.mnist_dataset_builder import Builder

__all__ = ["Builder"]
