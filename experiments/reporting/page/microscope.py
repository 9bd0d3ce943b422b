"""A layer's learnt rates as pictures, one after each task.

Rates above zero are blue, below zero red, in strengths that are the same in all of a layer's pictures.

Dimensions: T tasks.
"""

import base64
import io
import math
from collections.abc import Iterator

import matplotlib
import numpy as np
from PIL import Image

from experiments.reporting import drawing, figures
from experiments.reporting.page.blocks import Block, Layer, Microscope, anchor, csv_uri, picture
from experiments.reporting.page.run import Run

COLORMAP = "RdBu"
_LARGEST = 300  # pixels on either side
_PIXELS = 28  # of MNIST's images, on either side


def look(run: Run) -> Iterator[Block]:
    """Return the microscope over a run's rates, or the means of its layers where it has kept no more."""
    if not run.rates:
        yield from _means(run)
        return
    mnist = run.summary["benchmark"].startswith("mnist")
    layers = [_layer(name, rates.astype(np.float32), mnist) for name, rates in run.rates.items()]
    seed = run.results["seeds"][0]
    yield Microscope(
        anchor(run.label, "microscope"), f"{run.label}, seed {seed}", layers, _statistics(run)
    )


def arrange(rates: np.ndarray, mnist: bool) -> tuple[np.ndarray, str]:
    """Return one layer's rates as a picture, and how it is laid out; what is NaN is no rate.

    Args:
        rates: Of the layer's shape, the last axis that of its outputs; or one for all of it, without an axis.
        mnist: Whether a layer of 784 inputs sees MNIST's pixels.
    """
    if not rates.ndim:
        return rates.reshape(1, 1), "one pixel for all of the layer"
    if rates.ndim == 1:
        return _grid(rates[:, None, None], gap=0), "one pixel for each output"
    outputs = rates.shape[-1]
    if mnist and rates.shape == (_PIXELS**2, outputs):
        tiles = rates.T.reshape(outputs, _PIXELS, _PIXELS)
        return _grid(tiles, gap=1), "28×28 pixels of the input for each of the layer's outputs"
    plane, sides = rates.reshape(-1, outputs), ("inputs", "outputs")
    if len(plane) > outputs:  # pages are higher than wide
        plane, sides = plane.T, ("outputs", "inputs")
    factors = [math.ceil(size / _LARGEST) for size in plane.shape]
    layout = f"{sides[0]} from top to bottom, {sides[1]} from left to right"
    if max(factors) > 1:
        layout += f"; a pixel is the mean of {factors[0]}×{factors[1]} rates"
    return _shrink(plane, *factors), layout


def _layer(name: str, rates: np.ndarray, mnist: bool) -> Layer:
    pictures = [arrange(row, mnist) for row in rates]
    planes, layout = np.stack([plane for plane, _ in pictures]), pictures[0][1]
    shape = "×".join(map(str, rates.shape[1:]))
    known = np.abs(planes[np.isfinite(planes)])
    # A few extreme rates would leave all others pale.
    limit = float(np.quantile(known, 0.995)) if known.size else 0.0
    images = [_png(plane, limit or 1.0) for plane in planes]
    height, width = planes.shape[1:]
    return Layer(
        name,
        f"{f'{shape} rates' if shape else '1 rate'}: {layout}.",
        images,
        [_in_words(name, row, task) for task, row in enumerate(rates)],
        (width, height),
        f"{limit:.2g}",
    )


def _in_words(name: str, rates: np.ndarray, task: int) -> str:
    if not np.isfinite(rates).any():
        return f"Rates of {name} after {task} tasks: not kept."
    share = 100 * np.mean(rates <= 0)
    return (
        f"Rates of {name} after {task} tasks: mean {np.nanmean(rates):.3g}, from {np.nanmin(rates):.3g} to "
        f"{np.nanmax(rates):.3g}, {share:.0f} % at or below zero."
    )


def _grid(tiles: np.ndarray, gap: int) -> np.ndarray:
    """Return pictures `[N, H, W]` side by side in rows, as nearly square as may be."""
    count, height, width = tiles.shape
    columns = math.ceil(math.sqrt(count * height / width))
    rows = math.ceil(count / columns)
    grid = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan, np.float32)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        grid[top : top + height, left : left + width] = tile
    return grid


def _shrink(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return means over blocks of `rows × columns`, the last ones of what is left."""
    height, width = plane.shape
    sums = np.add.reduceat(plane, np.arange(0, height, rows), axis=0)
    sums = np.add.reduceat(sums, np.arange(0, width, columns), axis=1)
    counts = np.add.reduceat(np.ones((height, 1), np.float32), np.arange(0, height, rows), axis=0)
    counts = counts * np.diff([*range(0, width, columns), width])
    return sums / counts


def _png(plane: np.ndarray, limit: float) -> str:
    """Return a picture as a data URI; what is not a number is clear."""
    index = np.round(127 * np.clip(np.nan_to_num(plane) / limit, -1, 1)).astype(int) + 128
    image = Image.fromarray(np.where(np.isnan(plane), 0, index).astype(np.uint8), mode="P")
    colors = matplotlib.colormaps[COLORMAP](np.linspace(0, 1, 255), bytes=True)[:, :3]
    image.putpalette([127, 127, 127, *colors.ravel().tolist()])
    file = io.BytesIO()
    image.save(file, format="PNG", transparency=0, optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _statistics(run: Run) -> str:
    columns = (
        "after task",
        "layer",
        "mean",
        "at or below zero %",
        "min",
        "q25",
        "median",
        "q75",
        "max",
    )
    rows = []
    for name, rates in run.rates.items():
        for task, row in enumerate(rates.astype(np.float32)):
            if np.isfinite(row).all():
                quantiles = np.quantile(row, (0, 0.25, 0.5, 0.75, 1)).tolist()
                rows.append(
                    (task, name, float(row.mean()), 100 * float((row <= 0).mean()), *quantiles)
                )
    return csv_uri(columns, rows)


def _means(run: Run) -> Iterator[Block]:
    whole = ~run.results["diverged"]
    if not whole.any():
        return
    names = [str(name) for name in run.results["layer_names"]]
    mean, _ = drawing.over_seeds(run.results["rate_mean"][whole])
    yield picture(
        figures.plot_rate_map(mean, names, COLORMAP),
        anchor(run.label, "rate map"),
        f"{run.label}: mean rate of each layer",
        f"A row for each layer and a column for each number of tasks learnt, blue above zero and red below; from "
        f"{np.nanmin(mean):.3g} to {np.nanmax(mean):.3g}.",
        ("after task", *names),
        ((task, *row) for task, row in enumerate(mean.tolist())),
    )
