"""The learners reproduce, number by number, what the authors' implementation gives."""

import inspect
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

from lamaml_jax import LEARNERS, Batch, Model, Setting

pytestmark = pytest.mark.usefixtures("quick_compile")

FOLDER = Path(__file__).parent / "reference"
VECTORS = {"la_maml": 6, "sync": 2, "c_maml": 4, "er": 1}
FILES = sorted(path.stem for prefix in VECTORS for path in FOLDER.glob(f"{prefix}_*.npz"))


def test_all_vectors_are_there() -> None:
    assert len(FILES) == sum(VECTORS.values())


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-9), (False, 1e-5)], ids=["x64", "f32"])
@pytest.mark.parametrize("name", FILES)
def test_update_reproduces_the_authors_numbers(name: str, double: bool, tolerance: float) -> None:
    with jax.enable_x64(double), np.load(FOLDER / f"{name}.npz") as vectors:
        config = json.loads(str(vectors["config"]))
        state, info = _update(vectors, config)
        assert jax.tree.leaves(state.params)[0].dtype == (jnp.float64 if double else jnp.float32)
        assert_close(state.params, _tree(vectors, "params_out"), tolerance)
        if hasattr(state, "lrs"):
            assert_close(state.lrs, _tree(vectors, "lrs_out"), tolerance)
        if "last_meta_loss" in vectors:
            assert_close(info["loss"], vectors["last_meta_loss"], tolerance)


def _update(vectors: Any, config: dict[str, Any]) -> tuple[Any, Any]:
    """Run one jitted update on a vector's batches."""
    batch_size = len(vectors["y"])
    mask = np.ones((3, 6), bool)
    if config["multi_head"]:
        mask = np.kron(np.eye(3), np.ones((1, 2))) > 0
    incoming = _batch(vectors["x"], vectors["y"], np.full(batch_size, config["task"]))
    replayed = _batch(vectors["replay_x"], vectors["replay_y"], vectors["replay_task"])
    factory = LEARNERS[config["learner"]]
    config["inner_steps"] = batch_size // config["inner_batch"]
    keywords = inspect.signature(factory).parameters.keys() & config.keys()
    learner = factory(
        Model(lambda key, x: _tree(vectors, "params_in"), _apply),
        Setting(3, 6, mask, batch_size, batches_per_epoch=1),
        draw=lambda key, memory, batch: (incoming, replayed),
        **{name: config[name] for name in keywords},
    )
    state = learner.init(jax.random.key(0), incoming)
    if hasattr(state, "lrs"):
        state = state._replace(lrs=_tree(vectors, "lrs_in"))
    return jax.jit(learner.update)(jax.random.key(1), state, incoming)


def _batch(x: np.ndarray, y: np.ndarray, task: np.ndarray) -> Batch:
    return Batch(
        jnp.asarray(x, jnp.result_type(float)),
        jnp.asarray(y),
        jnp.asarray(task),
        valid=jnp.ones(len(y), bool),
    )


def _tree(vectors: Any, name: str) -> dict[str, jax.Array]:
    return {
        key.partition("/")[2]: jnp.asarray(vectors[key], jnp.result_type(float))
        for key in vectors
        if key.startswith(f"{name}/")
    }


def _apply(params: Any, x: jax.Array) -> jax.Array:
    for i in range(3):
        x = x @ params[f"kernel_{i}"] + params[f"bias_{i}"]
        x = jax.nn.relu(x) if i < 2 else x
    return x
