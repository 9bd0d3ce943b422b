"""Benchmarks as arrays: which images, which transform and which classes make up each task, per seed."""

from collections.abc import Callable

from lamaml_jax.streams.benchmark import Benchmark, EvalSplit, Examples, Stream, head_mask
from lamaml_jax.streams.mnist import (
    Heads,
    Interpolation,
    mnist_many_permutations,
    mnist_permutations,
    mnist_rotations,
)
from lamaml_jax.streams.split import ClassOrder, split_cifar100, split_tiny_imagenet

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "mnist_rotations": mnist_rotations,
    "mnist_permutations": mnist_permutations,
    "mnist_many_permutations": mnist_many_permutations,
    "split_cifar100": split_cifar100,
    "split_tiny_imagenet": split_tiny_imagenet,
}
"""By name: factories `factory(dataset, *, ...) -> Benchmark`."""

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "ClassOrder",
    "EvalSplit",
    "Examples",
    "Heads",
    "Interpolation",
    "Stream",
    "head_mask",
    "mnist_many_permutations",
    "mnist_permutations",
    "mnist_rotations",
    "split_cifar100",
    "split_tiny_imagenet",
]
