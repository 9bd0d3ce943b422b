"""Benchmarks as arrays: which images, which transform and which classes make up each task, per seed."""

from collections.abc import Callable

from lamaml_jax.streams._own_data import Arrays, stored_like
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
from lamaml_jax.streams.mnist import (
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
    "Arrays",
    "Benchmark",
    "ClassOrder",
    "EvalSplit",
    "Examples",
    "Heads",
    "Inputs",
    "Interpolation",
    "Stream",
    "from_arrays",
    "head_mask",
    "mnist_many_permutations",
    "mnist_permutations",
    "mnist_rotations",
    "split_cifar100",
    "split_tiny_imagenet",
    "stored_like",
]
