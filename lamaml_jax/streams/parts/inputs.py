"""How a user's arrays become the network's inputs: as they are, or by functions of the user's own.

Dimensions: B batch.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks
from lamaml_jax.streams.benchmark import Inputs

Transform: TypeAlias = Callable[[jax.Array], jax.Array]
Augment: TypeAlias = Callable[[chex.PRNGKey, jax.Array], jax.Array]


def inputs_by(
    transform: Transform | None, augment: Augment | None, example: jax.ShapeDtypeStruct
) -> Inputs:
    """Return inputs by a transform, of training examples after augmentation, where these are given.

    Args:
        transform: The user's.
        augment: The user's.
        example: Shape and type of a batch of inputs as they are held; they are tried on it and on a larger one.

    Raises:
        ValueError: In one sentence, what is wrong with which.
    """
    if transform is None and augment is None:
        return PLAIN_INPUTS
    size, *shape = example.shape
    for batch in (example, jax.ShapeDtypeStruct((size + 1, *shape), example.dtype)):
        if augment is not None:
            _check_augment(augment, batch)
        if transform is not None:
            _check_transform(transform, batch)
    seen = _plain if transform is None else transform

    def evaluation(images: jax.Array, index: jax.Array, of_task: Any) -> jax.Array:
        return seen(images[index])

    def training(key: chex.PRNGKey, images: jax.Array, index: jax.Array, of_task: Any) -> jax.Array:
        return seen(images[index] if augment is None else augment(key, images[index]))

    return Inputs(evaluation, training)


def _check_augment(augment: Augment, batch: jax.ShapeDtypeStruct) -> None:
    allowed = "a function augment(key, x) of a key and a batch of any size, in JAX"
    found = _found("augment", allowed, augment, jax.eval_shape(jax.random.key, 0), batch)
    if (found.shape, found.dtype) != (batch.shape, batch.dtype):
        raise ValueError(
            f"augment returns {found.dtype} of shape {found.shape} for {checks.described(batch)}; it must keep both: "
            "transform, which comes after it, may change them."
        )


def _check_transform(transform: Transform, batch: jax.ShapeDtypeStruct) -> None:
    allowed = "a function transform(x) of a batch of any size, in JAX"
    found = _found("transform", allowed, transform, batch)
    if found.shape[:1] != batch.shape[:1]:
        raise ValueError(
            f"transform returns shape {found.shape} for {checks.described(batch)}; it must return a row per example, "
            f"[{len(batch)}, ...]."
        )


def _found(name: str, allowed: str, function: Callable[..., Any], *shapes: Any) -> Any:
    """Return the shape and type of the array that a user's function returns."""
    if not callable(function):
        raise ValueError(f"{name} is {function!r:.60}; it must be {allowed}, or None.")
    found = checks.traced(name, allowed, function, *shapes)
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise ValueError(
            f"{name} returns a {type(found).__name__} for {checks.described(shapes[-1])}; it must return an array."
        )
    return found


def _plain(x: jax.Array) -> jax.Array:
    return x / jnp.float32(255) if x.dtype == jnp.uint8 else x


PLAIN_INPUTS = Inputs(
    lambda images, index, of_task: _plain(images[index]),
    lambda key, images, index, of_task: _plain(images[index]),
)
"""Inputs as they are, but for uint8, which is scaled to [0, 1]."""
