"""What every benchmark is: images that live on the device once, and per seed the tasks made of them.

A seed's `Stream` holds indices into the images and the parameters of its transforms; gathering and transforming happen
inside the compiled program.

Dimensions: T tasks, N training and M evaluation examples per task, I images, H height, W width, B batch.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import chex
import jax
import numpy as np

from lamaml_jax.types import Setting

EvalSplit: TypeAlias = Literal["test", "validation"]


class Examples(NamedTuple):
    """Rows of the image array `[T, N]`, and their labels, counted over all heads, `[T, N]`."""

    image: jax.Array
    label: jax.Array


class Stream(NamedTuple):
    """One seed's tasks: training and evaluation examples, and each task's transform as a pytree of `[T, ...]`."""

    train: Examples
    test: Examples
    transform: chex.ArrayTree


class Inputs(NamedTuple):
    """How images become the network's inputs.

    Attributes:
        evaluation: `evaluation(images, index [B], transform) -> x [B, ...]`, float32, given one task's transform.
        training: `training(key, images, index [B], transform) -> x [B, ...]`: the same, with augmentation drawn anew
            for each key where the benchmark augments its images.
    """

    evaluation: Callable[[jax.Array, jax.Array, Any], jax.Array]
    training: Callable[[chex.PRNGKey, jax.Array, jax.Array, Any], jax.Array]


class Benchmark(NamedTuple):
    """A stream of tasks to learn.

    Attributes:
        setting: Its static facts.
        images: uint8 `[I, ...]`, training images followed by test images.
        make_stream: `make_stream(key) -> Stream`, one seed's draw of tasks.
        inputs: How images become inputs.
    """

    setting: Setting
    images: np.ndarray
    make_stream: Callable[[chex.PRNGKey], Stream]
    inputs: Inputs
