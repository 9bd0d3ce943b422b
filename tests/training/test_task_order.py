"""Task ids are names: tasks that come in another order, or come back, are learnt as the same under other names."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, make_batch, small_keywords, small_setting
from projecting import relabelled

from lamaml_jax import LEARNERS, Batch, agem, networks

pytestmark = pytest.mark.usefixtures("quick_compile")

SHARED = small_setting(per_task=False)
MODEL = networks.mlp(SHARED.num_classes, hidden=(8,))
KEY = jax.random.key(0)
ARRIVING = np.array([0, 1, 0, 2])
NAMES = np.array([[0, 1, 2], [2, 1, 0], [1, 2, 0]])
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "er": ("er", {}),
    "ewc": ("ewc", {}),
    "gem": ("gem", {"margin": 0.1}),
    "fs_dgpm": ("fs_dgpm", {"threshold": 0.7, "threshold_step": 0.1}),
    # All are drawn: which a draw takes depends on where they stand.
    "agem": ("agem", {"memory": 12, "replay_batch": 12}),
    "agem_released": ("agem", {"reference": "mean", "skip_first_task": True}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_of_tasks_do_not_matter(variant: str) -> None:
    """Tasks oppose each other: they have the same images with other labels.

    The names are mapped, so that one program also holds runs which have seen other ids.
    """
    name, keywords = VARIANTS[variant]
    learner = LEARNERS[name](MODEL, SHARED, **small_keywords(name) | {"lr": 0.1} | keywords)
    batches = [relabelled(make_batch(0), task) for task in ARRIVING]
    start = learner.init(KEY, batches[0])

    def run(names: jax.Array) -> tuple[Any, Any]:
        def step(state: Any, inputs: tuple[chex.PRNGKey, Batch]) -> tuple[Any, Any]:
            key, batch = inputs
            batch = batch._replace(task=names[batch.task])
            state, info = learner.update(key, state, batch)
            return learner.end_task(key, state, batch), info

        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
        return jax.lax.scan(step, start, (jax.random.split(KEY, len(batches)), stacked))

    state, info = jax.jit(jax.vmap(run))(NAMES)
    for leaf in jax.tree.leaves((state.params, info)):
        assert_close(leaf, np.broadcast_to(leaf[:1], leaf.shape), 1e-5)
    if "projected" in info:
        first, *others = info["projected"][0]
        assert first == 0
        assert max(others) > 0


def test_mapped_runs_may_have_seen_different_tasks() -> None:
    """Each is held against its own past, and none waits in a loop that selects what it carries in every pass."""
    learner = agem(MODEL, SHARED, reference="mean", memory=12, lr=0.1)
    first, second, now = (relabelled(make_batch(0), task) for task in range(3))
    update = jax.jit(learner.update)
    start = learner.init(KEY, first)
    short, _ = update(KEY, start, first)
    long, _ = update(KEY, short, second)
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), short, long)
    mapped = jax.vmap(learner.update, (None, 0, None))
    states, info = jax.jit(mapped)(KEY, both, now)
    for i, alone in enumerate((short, long)):
        expected, expected_info = update(KEY, alone, now)
        assert_close(jax.tree.map(lambda a, i=i: a[i], (states, info)), (expected, expected_info))
    assert info["projected"].tolist() == [1, 1]
    program = str(jax.make_jaxpr(mapped)(KEY, both, now))
    condition = program.partition("while[")[2].partition("cond_nconsts")[0]
    assert "bool[] = lt" in condition  # one bound for both
