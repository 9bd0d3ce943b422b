"""What a run measures beside its results when it is asked for diagnostics, of all seeds: dynamics.npz.

    rate_histogram [S, T + 1, L, N]   the share of a layer's rates in each bin of RATE_EDGES; row t is after t tasks
    rate_edges [N + 1], layer_names [L]
    gradient_cosine [S, T], meta_loss [S, T, K + 1]   as each task arrives: see `probes.dynamics`

A learner has those of them that it has rates, a memory or a look-ahead for. What was not measured is NaN: a run may be
interrupted and go on with or without diagnostics.

Dimensions: S seeds, T tasks, L layers, N bins, K inner steps.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lamaml_jax import metrics
from lamaml_jax.files import write_whole
from lamaml_jax.training.saving import read_arrays

FILE = "dynamics.npz"

OF_RUNS = ("gradient_cosine", "meta_loss", "rate_histogram")
"""The arrays that begin with the axis of seeds."""

_POSITIVE = np.logspace(-4, 0, 81)
RATE_EDGES = np.concatenate([[-np.inf], -_POSITIVE[::-1], [0.0], _POSITIVE, [np.inf]])
"""Twenty bins to a factor of ten, on either side of zero, which belongs to the bin below it."""


def begin(
    workdir: pathlib.Path,
    measured: Mapping[str, np.ndarray],
    lrs: Any,
    num_runs: int,
    num_tasks: int,
) -> dict[str, np.ndarray]:
    """Return what an earlier part of the run has measured, or room for it.

    Args:
        workdir: The run's.
        measured: What is measured as a task arrives, `[S, ...]` by name; only the shapes matter.
        lrs: All seeds' rates before training, the axis of seeds first, or None.
        num_runs: S.
        num_tasks: T.

    Raises:
        ValueError: What is there is damaged, or of another run.
    """
    shapes = {name: (num_runs, num_tasks, *of_task.shape[1:]) for name, of_task in measured.items()}
    names = [] if lrs is None else metrics.layer_names(lrs)
    if names:
        shapes["rate_histogram"] = (num_runs, num_tasks + 1, len(names), len(RATE_EDGES) - 1)
    room = {name: np.full(shape, np.nan, np.float32) for name, shape in shapes.items()}
    if names:
        room |= {"rate_edges": RATE_EDGES, "layer_names": np.array(names)}
    if not room or not (workdir / FILE).exists():
        return room
    found = read(workdir)
    if {name: a.shape for name, a in found.items()} != {name: a.shape for name, a in room.items()}:
        raise ValueError(f"{workdir / FILE} is of another run; remove it.")
    return found


def keep(
    workdir: pathlib.Path,
    kept: dict[str, np.ndarray],
    lrs: Any,
    row: int,
    arriving: Mapping[str, np.ndarray],
    task: int,
) -> None:
    """Enter all seeds' rates in a row, and what was measured as a task arrived, if there is one; write the file."""
    if not kept:
        return
    for name, values in arriving.items():
        if task < kept[name].shape[1]:
            kept[name][:, task] = values
    if "rate_histogram" in kept:
        num_runs = len(kept["rate_histogram"])
        for layer, leaf in enumerate(jax.tree.leaves(lrs)):
            for run, rates in enumerate(np.asarray(leaf)[:num_runs].reshape(num_runs, -1)):
                kept["rate_histogram"][run, row, layer] = histogram(rates)
    with write_whole(workdir / FILE) as file:
        np.savez_compressed(file, allow_pickle=False, **kept)


def histogram(rates: np.ndarray) -> np.ndarray:
    """Return the share of rates `[...]` in each bin of RATE_EDGES, from above its lower edge to its upper one `[N]`."""
    if not np.isfinite(rates).all():
        return np.full(len(RATE_EDGES) - 1, np.nan)
    places = np.searchsorted(RATE_EDGES, rates.ravel(), side="left") - 1
    return np.bincount(places, minlength=len(RATE_EDGES) - 1) / rates.size


def read(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """Return what a run has measured, nothing where it has no dynamics.npz.

    Raises:
        ValueError: The file is damaged.
    """
    return read_kept(workdir / FILE)


def read_kept(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file that a run with diagnostics keeps, nothing where it has none.

    Raises:
        ValueError: The file is damaged.
    """
    if not path.exists():
        return {}
    try:
        return read_arrays(path)
    except ValueError:
        raise ValueError(f"{path} is damaged; remove it.") from None
