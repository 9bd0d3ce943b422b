"""TinyImageNet-200 for tfds, which has no builder of its own."""

from lamaml_jax.datasets.tiny_imagenet.tiny_imagenet_dataset_builder import Builder

__all__ = ["Builder"]
