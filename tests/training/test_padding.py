"""Padding in a look-ahead: pieces of the incoming batch that hold few examples, or none, under every way of drawing."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from helpers import BATCH_SIZE, MODEL, SETTING, assert_close, first_rows, make_batch, small_keywords

from lamaml_jax import LEARNERS

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
LEFT = 3  # examples in a last batch

# Every way of drawing and averaging once, and every learner once.
EVERY_PIECE_OF_ONE = {"inner_steps": 10, "glances": 1}
SECOND_ORDER = {"inner_steps": 5, "glances": 3, "order": "second", "replacement": False}
NO_SHUFFLE = {"inner_steps": 10, "shuffle_glances": False, "memory": 2}
LAST = {"inner_steps": 5, "meta_loss_at": "last", "inner_clip": 0.1, "clip_norm": None}


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("la_maml", EVERY_PIECE_OF_ONE),
        ("la_maml", SECOND_ORDER),
        ("c_maml", LAST),
        ("c_maml", NO_SHUFFLE | {"push_epochs": "every"}),
        ("sync_la_maml", EVERY_PIECE_OF_ONE),
        ("meta_bgd", EVERY_PIECE_OF_ONE),
        ("meta_bgd", LAST | {"learn_inner_lr": True}),
        ("la_er", NO_SHUFFLE),
    ],
)
def test_few_examples_fill_pieces_as_a_short_batch_does(
    name: str, keywords: dict[str, Any]
) -> None:
    keywords = small_keywords(name) | {"replay_batch": 2} | keywords
    batch = make_batch(7, task=1)
    padded = batch._replace(valid=jnp.arange(BATCH_SIZE) < LEFT)
    cut = first_rows(batch, LEFT)
    size = BATCH_SIZE // keywords["inner_steps"]
    updated = []
    for taken, inner_steps in ((padded, keywords["inner_steps"]), (cut, -(-LEFT // size))):
        setting = SETTING._replace(batch_size=len(taken.y))
        learner = LEARNERS[name](MODEL, setting, **keywords | {"inner_steps": inner_steps})
        state, update = learner.init(KEY, batch), jax.jit(learner.update)
        for key in jax.random.split(KEY):  # the second update replays what the first one kept
            state, info = update(key, state, taken)
        updated.append((state, info))
    assert_close(*updated, 1e-6)
