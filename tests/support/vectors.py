"""The reference vectors: numbers of the authors' own code, and the network and stream that they come from."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamaml_jax import Batch, Model, Setting

FOLDER = Path(__file__).parents[1] / "reference"
NUM_TASKS, CLASSES_PER_TASK = 3, 2

in_both_precisions = pytest.mark.parametrize(
    ("double", "tolerance"), [(True, 1e-9), (False, 1e-5)], ids=["x64", "f32"]
)


class Vectors(NamedTuple):
    """The arrays of a file, and its settings."""

    arrays: dict[str, np.ndarray]
    config: dict[str, Any]

    def tree(self, name: str) -> dict[str, jax.Array]:
        """Return the pytree `name`, whose leaves are the arrays `name/leaf`."""
        return {
            key.removeprefix(f"{name}/"): jnp.asarray(array, jnp.result_type(float))
            for key, array in self.arrays.items()
            if key.startswith(f"{name}/")
        }

    def setting(self, batch_size: int, batches_per_epoch: int = 1) -> Setting:
        """Return three tasks, with two outputs each or all six shared."""
        num_classes = NUM_TASKS * CLASSES_PER_TASK
        mask = np.ones((NUM_TASKS, num_classes), bool)
        if self.config["multi_head"]:
            mask = np.kron(np.eye(NUM_TASKS), np.ones((1, CLASSES_PER_TASK))) > 0
        return Setting(NUM_TASKS, num_classes, mask, batch_size, batches_per_epoch)

    def model(self, start: str = "params_in") -> Model:
        """Return the MLP 12-8-8-6, whose weights start at the pytree `start`."""
        return Model(lambda key, x: self.tree(start), apply)


def names(*prefixes: str) -> list[str]:
    """Return the names of the files that start so."""
    return sorted(path.stem for prefix in prefixes for path in FOLDER.glob(f"{prefix}_*.npz"))


@contextlib.contextmanager
def opened(name: str, double: bool) -> Iterator[Vectors]:
    """Read a file; inside, compute in double or in single precision."""
    with jax.enable_x64(double), np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
        config = json.loads(str(arrays.pop("config")))
        yield Vectors(arrays, config)


def batch(x: np.ndarray, y: np.ndarray, task: np.ndarray | int, **fields: Any) -> Batch:
    """Return a batch of valid examples, all of one task or each of its own."""
    return Batch(
        jnp.asarray(x, jnp.result_type(float)),
        jnp.asarray(y),
        jnp.asarray(np.broadcast_to(task, y.shape)),
        valid=jnp.ones(len(y), bool),
        **fields,
    )


def apply(params: Any, x: jax.Array, gates: Sequence[jax.Array] | None = None) -> jax.Array:
    """Return the logits of the layers `kernel_0`, `bias_0`, ... with ReLU between them, and after it gates, if any."""
    last = len(params) // 2 - 1
    for i in range(last):
        x = jax.nn.relu(x @ params[f"kernel_{i}"] + params[f"bias_{i}"])
        x = x if gates is None else x * gates[i]
    return x @ params[f"kernel_{last}"] + params[f"bias_{last}"]
