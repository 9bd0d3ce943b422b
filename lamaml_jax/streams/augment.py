"""Random changes of training images, inside the compiled program: a key says which, one draw per image.

Dimensions: B batch, H height, W width, C colour channels.
"""

import chex
import jax
import jax.numpy as jnp


def random_crop(key: chex.PRNGKey, images: jax.Array, padding: int) -> jax.Array:
    """Shift each of `images [B, H, W, C]` by up to `padding` pixels each way; what comes in is 0."""
    _, height, width, channels = images.shape
    around = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    offsets = jax.random.randint(key, (len(images), 2), 0, 2 * padding + 1)

    def crop(image: jax.Array, offset: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), (height, width, channels))

    return jax.vmap(crop)(jnp.pad(images, around), offsets)


def random_flip(key: chex.PRNGKey, images: jax.Array) -> jax.Array:
    """Mirror each of `images [B, H, W, C]` left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def random_brightness(key: chex.PRNGKey, images: jax.Array, spread: float) -> jax.Array:
    """Multiply each of `images [B, H, W, C]` in [0, 1] by a draw of U[1 - spread, 1 + spread], cut to [0, 1]."""
    factors = jax.random.uniform(key, (len(images), 1, 1, 1), images.dtype, 1 - spread, 1 + spread)
    return jnp.clip(factors * images, 0, 1)
