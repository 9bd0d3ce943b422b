"""Images normalised per colour channel, after augmentation where training has it.

Dimensions: N images, H height, W width, C colour channels, B batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax.streams.augment import random_brightness, random_crop, random_flip
from lamaml_jax.streams.benchmark import Inputs

_PADDING = 4
_CHUNK = 1000  # images counted at once: numpy counts in eight times the memory


class Normalisation(NamedTuple):
    """Mean and standard deviation of each colour channel of a dataset's images in [0, 1]."""

    mean: Sequence[float]
    std: Sequence[float]


def normalisation_of(images: np.ndarray) -> Normalisation:
    """Return the mean and standard deviation of each channel of uint8 `images [N, H, W, C]`.

    A channel that is the same everywhere gets 1 as its standard deviation, so that it can be divided by it.
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in np.moveaxis(images, -1, 0):
        chunks = (channel[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))
        shares = sum(np.bincount(c.ravel(), minlength=256) for c in chunks) / channel.size
        means.append(float(shares @ levels))
        varies = np.count_nonzero(shares) > 1
        deviations.append(float(np.sqrt(shares @ (levels - means[-1]) ** 2)) if varies else 1.0)
    return Normalisation(means, deviations)


def normalised_inputs(
    normalisation: Normalisation, *, brightness: float, augmentation: bool
) -> Inputs:
    """Return inputs `[B, H, W, C]` that are normalised, of training images after augmentation.

    Args:
        normalisation: Of each channel.
        brightness: Training images are made brighter or darker by up to this share; 0 leaves them.
        augmentation: Whether training images are cropped, flipped and made brighter at all.
    """
    mean, std = (np.asarray(values, np.float32) for values in normalisation)

    def evaluation(images: jax.Array, index: jax.Array, transform: tuple[()]) -> jax.Array:
        return (images[index] / jnp.float32(255) - mean) / std

    def training(
        key: chex.PRNGKey, images: jax.Array, index: jax.Array, transform: tuple[()]
    ) -> jax.Array:
        if not augmentation:
            return evaluation(images, index, transform)
        key_crop, key_flip, key_brightness = jax.random.split(key, 3)
        changed = random_flip(key_flip, random_crop(key_crop, images[index], _PADDING))
        x = changed / jnp.float32(255)
        if brightness:
            x = random_brightness(key_brightness, x, brightness)
        return (x - mean) / std

    return Inputs(evaluation, training)
