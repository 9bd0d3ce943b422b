"""Augmented training inputs and plain evaluation inputs: what images become."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_bits, differs
from split_noise import CIFAR, TINY, denormalised, noise, variants, windows

from lamaml_jax.streams import split_cifar100, split_tiny_imagenet
from lamaml_jax.streams.augment import random_brightness, random_crop, random_flip

pytestmark = pytest.mark.usefixtures("quick_compile")

SPREAD = 63 / 255


def train_inputs(make: Any, image: int, count: int, key: int = 0) -> jax.Array:
    """Return one image as training shows it `count` times in one batch."""
    benchmark = make(noise())
    rows = jnp.full(count, image)
    return benchmark.inputs.training(jax.random.key(key), jnp.asarray(benchmark.images), rows, ())


@pytest.mark.parametrize(
    ("make", "constants"), [(split_cifar100, CIFAR), (split_tiny_imagenet, TINY)]
)
def test_evaluation_inputs_are_normalised_per_channel(make: Any, constants: Any) -> None:
    benchmark = make(noise())
    rows = np.array([3, 0, 499])
    x = benchmark.inputs.evaluation(jnp.asarray(benchmark.images), jnp.asarray(rows), ())
    assert x.dtype == jnp.float32
    for channel, (mean, std) in enumerate(zip(*constants, strict=True)):
        expected = (benchmark.images[rows, :, :, channel] / 255 - mean) / std
        np.testing.assert_allclose(x[..., channel], expected, rtol=1e-4, atol=1e-5)


def test_a_crop_is_a_window_of_the_image_with_black_around_it() -> None:
    image = noise().train_images[0]
    count = 81 * 100
    crops = np.asarray(random_crop(jax.random.key(0), jnp.asarray(image)[None].repeat(count, 0), 4))
    assert crops.dtype == np.uint8
    number = {window.tobytes(): i for i, window in enumerate(windows(image))}
    drawn = np.bincount([number[crop.tobytes()] for crop in crops], minlength=81)
    assert 50 < drawn.min() <= drawn.max() < 150  # all 81, equally often


def test_each_image_is_mirrored_or_not_with_equal_probability() -> None:
    images = jnp.asarray(noise().train_images)
    flipped = np.asarray(random_flip(jax.random.key(0), images))
    mirrored = [np.array_equal(a, np.fliplr(b)) for a, b in zip(flipped, images, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(flipped, images, strict=True)]
    assert np.all(np.logical_xor(mirrored, same))
    assert 160 < sum(mirrored) < 240  # of 400


def test_brightness_is_a_factor_per_image_and_cut_to_one() -> None:
    grey = np.full((1000, 2, 2, 3), 0.5, np.float32)
    out = np.asarray(random_brightness(jax.random.key(0), jnp.asarray(grey), SPREAD))
    factors = out[:, 0, 0, 0] / 0.5
    np.testing.assert_array_equal(
        out, np.broadcast_to(0.5 * factors[:, None, None, None], out.shape)
    )
    assert 1 - SPREAD <= factors.min() < 0.77
    assert 1.23 < factors.max() <= 1 + SPREAD
    np.testing.assert_allclose(np.mean(factors), 1, atol=0.02)
    assert len(np.unique(factors)) > 990
    white = np.asarray(random_brightness(jax.random.key(0), jnp.asarray(2 * grey), SPREAD))
    np.testing.assert_allclose(white[:, 0, 0, 0], np.minimum(factors, 1), rtol=1e-6)


def test_tiny_imagenet_is_cropped_and_mirrored_and_no_more() -> None:
    """Black comes in before the normalisation, and all shifts do occur."""
    x = train_inputs(split_tiny_imagenet, 5, 3000)
    assert x.dtype == jnp.float32
    images = 255 * denormalised(x, TINY)
    np.testing.assert_allclose(images, np.rint(images), atol=1e-3)
    known = {variant.tobytes(): i for i, variant in enumerate(variants(noise().train_images[5]))}
    drawn = {known[image.tobytes()] for image in np.rint(images).astype(np.uint8)}
    assert len(drawn) == 2 * 81


def test_cifar_is_cropped_mirrored_and_changed_in_brightness() -> None:
    """The factor and the cut to [0, 1] come after black came in, and before the normalisation."""
    candidates = np.stack(variants(noise().train_images[5])) / 255
    images = denormalised(train_inputs(split_cifar100, 5, 200), CIFAR)
    factors, found = [], set()
    for image in images:
        inside = (candidates > 0) & (image < 1 - 1e-5)
        ratios = np.divide(image, candidates, where=inside, out=np.full(candidates.shape, np.nan))
        factor = np.nanmedian(ratios, axis=(1, 2, 3), keepdims=True)
        distance = np.abs(np.clip(factor * candidates, 0, 1) - image).max(axis=(1, 2, 3))
        assert distance.min() < 1e-5
        found.add(int(distance.argmin()))
        factors.append(factor[distance.argmin()].item())
    assert 1 - SPREAD - 1e-5 < min(factors) < 0.78
    assert 1.22 < max(factors) < 1 + SPREAD + 1e-5
    assert len(np.unique(np.round(factors, 6))) > 190
    assert len(found) > 90  # of 162, in 200 draws
    assert images.max() > 1 - 1e-5


@pytest.mark.parametrize("make", [split_cifar100, split_tiny_imagenet])
def test_a_key_says_which_change_each_image_of_a_batch_gets(make: Any) -> None:
    first, second, other = (train_inputs(make, 7, 10, key) for key in (0, 0, 1))
    assert_same_bits(first, second)
    assert differs(first, other)
    assert len({x.tobytes() for x in np.asarray(first)}) > 5
