"""The learners reproduce, number by number, what the authors' implementation gives."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from helpers import assert_close
from vectors import Vectors, batch, in_both_precisions, names, opened

from lamaml_jax import LEARNERS

pytestmark = pytest.mark.usefixtures("quick_compile")

VECTORS = {"la_maml": 6, "sync": 2, "c_maml": 4, "er": 1}
FILES = names(*VECTORS)


def test_all_vectors_are_there() -> None:
    assert len(FILES) == sum(VECTORS.values())


@in_both_precisions
@pytest.mark.parametrize("name", FILES)
def test_update_reproduces_the_authors_numbers(name: str, double: bool, tolerance: float) -> None:
    with opened(name, double) as vectors:
        state, info = _update(vectors)
        assert jax.tree.leaves(state.params)[0].dtype == (jnp.float64 if double else jnp.float32)
        assert_close(state.params, vectors.tree("params_out"), tolerance)
        if hasattr(state, "lrs"):
            assert_close(state.lrs, vectors.tree("lrs_out"), tolerance)
        if "last_meta_loss" in vectors.arrays:
            assert_close(info["loss"], vectors.arrays["last_meta_loss"], tolerance)


def _update(vectors: Vectors) -> tuple[Any, Any]:
    """Run one jitted update on a vector's batches."""
    arrays, config = vectors
    batch_size = len(arrays["y"])
    incoming = batch(arrays["x"], arrays["y"], config["task"])
    replayed = batch(arrays["replay_x"], arrays["replay_y"], arrays["replay_task"])
    factory = LEARNERS[config["learner"]]
    config["inner_steps"] = batch_size // config["inner_batch"]
    keywords = inspect.signature(factory).parameters.keys() & config.keys()
    learner = factory(
        vectors.model(),
        vectors.setting(batch_size),
        draw=lambda key, memory, batch: (incoming, replayed),
        **{name: config[name] for name in keywords},
    )
    state = learner.init(jax.random.key(0), incoming)
    if hasattr(state, "lrs"):
        state = state._replace(lrs=vectors.tree("lrs_in"))
    return jax.jit(learner.update)(jax.random.key(1), state, incoming)
