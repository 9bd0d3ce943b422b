"""The contract of a learner, kept by all in LEARNERS; a new one is tested here as soon as it has a name.

Settings are taken as the factories have them, but for a few that are made small where a factory knows them.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import BATCH_SIZE, MODEL, build, make_batch, small_keywords, small_setting
from jax.interpreters.partial_eval import dce_jaxpr

from lamaml_jax import LEARNERS
from lamaml_jax.testing import check_learner

KEY = jax.random.key(0)
DRAW_NOTHING = {"online", "iid", "ewc", "gem", "hat"}  # in an update
# Also with an optimizer that has a state (C-MAML's outer step is Sync's), and with another way of drawing.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("er", {"optimizer": "adam"}),
    ("sync_la_maml", {"optimizer": "adam"}),
    ("meta_bgd", {"redraw_per_sample": False}),
    ("fs_dgpm", {"soft": "learnt"}),
    ("la_maml", {"distill": 0.3}),
    ("er", {"distill": 0.3}),
    ("la_maml", {"variance_reduction": 0.5}),
    ("c_maml", {"variance_reduction": 0.5}),
    ("la_maml", {"inner_clip_norm": 0.5, "order": "second"}),
    ("la_maml", {"gradient_projection": 0.1, "outer_scale": 2.0}),
    ("sync_la_maml", {"gradient_projection": 0.1}),
    ("c_maml", {"gradient_projection": 0.1}),
]
# What depends on the batch's size: pieces of five hold three examples in one, and UCB counts a task's batches.
OF_THREE = {"inner_steps": 1, "kl_weight": 3 / BATCH_SIZE}

every_learner = pytest.mark.parametrize("name", LEARNERS)


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize(
    ("name", "keywords"),
    [*((name, {}) for name in LEARNERS), *VARIANTS],
    ids=[*LEARNERS, *(f"{name}-{'-'.join(keywords)}" for name, keywords in VARIANTS)],
)
def test_every_learner_keeps_the_contract(name: str, keywords: dict[str, Any]) -> None:
    known = inspect.signature(LEARNERS[name]).parameters
    of_three = {keyword: value for keyword, value in OF_THREE.items() if keyword in known}
    check_learner(LEARNERS[name], short_batch=of_three, **small_keywords(name), **keywords)


@every_learner
def test_an_update_reports_something_and_uses_its_key_if_it_draws(name: str) -> None:
    learner = build(name)
    state = jax.eval_shape(learner.init, KEY, make_batch(0))
    closed, (_, info) = jax.make_jaxpr(learner.update, return_shape=True)(KEY, state, make_batch(0))
    assert info
    _, used = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    assert used[0] == (name not in DRAW_NOTHING)  # the key comes first


@every_learner
def test_with_a_shared_head_all_outputs_have_scores(name: str) -> None:
    learner = LEARNERS[name](MODEL, small_setting(per_task=False), **small_keywords(name))

    def scores(key: jax.Array) -> jax.Array:
        state = learner.init(key, make_batch(0))
        return learner.predict(state, make_batch(0).x, jnp.int32(1), key)

    assert np.all(np.isfinite(jax.jit(scores)(KEY)))
