"""Benchmarks as arrays: which images, which transform and which classes make up each task, per seed."""

from lamaml_jax.streams.arrays import from_arrays
from lamaml_jax.streams.benchmark import (
    Benchmark,
    EvalSplit,
    Examples,
    Heads,
    Inputs,
    Stream,
    head_mask,
)
from lamaml_jax.streams.from_dataset import BENCHMARKS, TRANSFORMS, from_dataset
from lamaml_jax.streams.mnist import (
    mnist_many_permutations,
    mnist_permutations,
    mnist_rotations,
)
from lamaml_jax.streams.parts.own_data import Arrays, stored_like
from lamaml_jax.streams.parts.own_images import ImageArrays
from lamaml_jax.streams.pixels import Interpolation
from lamaml_jax.streams.split import ClassOrder, split_cifar100, split_tiny_imagenet

__all__ = [
    "BENCHMARKS",
    "TRANSFORMS",
    "Arrays",
    "Benchmark",
    "ClassOrder",
    "EvalSplit",
    "Examples",
    "Heads",
    "ImageArrays",
    "Inputs",
    "Interpolation",
    "Stream",
    "from_arrays",
    "from_dataset",
    "head_mask",
    "mnist_many_permutations",
    "mnist_permutations",
    "mnist_rotations",
    "split_cifar100",
    "split_tiny_imagenet",
    "stored_like",
]
