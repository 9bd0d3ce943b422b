"""How a user's arrays become the network's inputs: as they are, or by functions of the user's own.

Dimensions: B batch.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp

from lamaml_jax.streams.benchmark import Inputs

Transform: TypeAlias = Callable[[jax.Array], jax.Array]
Augment: TypeAlias = Callable[[chex.PRNGKey, jax.Array], jax.Array]


def inputs_by(transform: Transform | None, augment: Augment | None) -> Inputs:
    """Return inputs by a transform, of training examples after augmentation, where these are given."""
    if transform is None and augment is None:
        return PLAIN_INPUTS
    seen = _plain if transform is None else transform

    def evaluation(images: jax.Array, index: jax.Array, of_task: Any) -> jax.Array:
        return seen(images[index])

    def training(key: chex.PRNGKey, images: jax.Array, index: jax.Array, of_task: Any) -> jax.Array:
        return seen(images[index] if augment is None else augment(key, images[index]))

    return Inputs(evaluation, training)


def _plain(x: jax.Array) -> jax.Array:
    return x / jnp.float32(255) if x.dtype == jnp.uint8 else x


PLAIN_INPUTS = Inputs(
    lambda images, index, of_task: _plain(images[index]),
    lambda key, images, index, of_task: _plain(images[index]),
)
"""Inputs as they are, but for uint8, which is scaled to [0, 1]."""
