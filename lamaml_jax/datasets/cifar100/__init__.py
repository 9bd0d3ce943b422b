"""CIFAR-100 for tfds, prepared without TensorFlow."""

from lamaml_jax.datasets.cifar100.cifar100_dataset_builder import Builder

__all__ = ["Builder"]
