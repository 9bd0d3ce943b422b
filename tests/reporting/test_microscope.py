"""Pictures of learnt rates: which pixel is which rate, and which colour it has."""

import base64
import io
import pathlib

import numpy as np
from PIL import Image

from experiments.reporting.page import microscope, reading


def test_shows_the_pixels_of_each_output() -> None:
    rates = np.random.default_rng(0).normal(size=(784, 5)).astype(np.float32)
    plane, layout = microscope.arrange(rates, mnist=True)
    assert plane.shape == (57, 86) and "28×28" in layout  # 2 × 3 pictures and the gaps between
    np.testing.assert_array_equal(plane[29:, 29:57], rates[:, 4].reshape(28, 28))
    assert np.isnan(plane[28]).all() and np.isnan(plane[29:, 58:]).all()


def test_lays_other_layers_out() -> None:
    rates = np.arange(1200.0 * 2).reshape(3, 400, 2).astype(np.float32)
    plane, layout = microscope.arrange(rates, mnist=True)
    assert plane.shape == (2, 300) and "a pixel is the mean of 1×4 rates" in layout
    np.testing.assert_allclose(plane[1, 7], rates.reshape(1200, 2)[28:32, 1].mean())
    plane, _ = microscope.arrange(np.arange(7.0), mnist=False)
    np.testing.assert_array_equal(plane, [[0, 1, 2], [3, 4, 5], [6, np.nan, np.nan]])


def test_pictures_are_blue_above_zero_and_red_below() -> None:
    rates = np.full((4, 784, 3), np.nan, np.float16)
    rates[2, :, 0], rates[2, :, 1], rates[2, :, 2] = 0.1, -0.1, 0
    summary, results = {"benchmark": "mnist_rotations"}, {"seeds": np.array([3])}
    run = reading.Run(pathlib.Path("run"), "La-MAML", {}, summary, results, {"w": rates})
    (shown,) = microscope.look(run)
    assert shown.title == "La-MAML, seed 3"  # type: ignore[union-attr]
    (layer,) = shown.layers  # type: ignore[union-attr]
    before, after = (
        Image.open(io.BytesIO(base64.b64decode(layer.images[task].partition(",")[2])))
        for task in (1, 2)
    )
    assert after.size == layer.size == (57, 57)
    pixels = np.asarray(after.convert("RGBA")).astype(int)
    (above, below, zero) = pixels[10, 10], pixels[10, 40], pixels[40, 10]
    assert above[2] > above[0] + 50 and below[0] > below[2] + 50
    assert zero[:3].min() > 240 and pixels[40, 40, 3] == 0
    assert not np.asarray(before.convert("RGBA"))[..., 3].any()
    assert "67 % at or below zero" in layer.alternatives[2]
    assert layer.alternatives[1].endswith("not kept.")
