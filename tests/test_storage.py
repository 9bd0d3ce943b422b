"""What a learner keeps beyond the weights is measured and told apart."""

import pytest
from helpers import BATCH_SIZE, NUM_FEATURES, make_batch, small_setting

from lamaml_jax import er, ewc, la_maml, meta_bgd, networks, online
from lamaml_jax.storage import storage

FLOAT, HIDDEN = 4, 8
NUM_WEIGHTS = NUM_FEATURES * HIDDEN + HIDDEN + HIDDEN * 6 + 6
SLOT = FLOAT * (NUM_FEATURES + 2)  # an example, its label and its task


@pytest.mark.parametrize(
    ("factory", "keywords", "replay", "per_parameter"),
    [
        (online, {}, 0, 0),
        (er, {"memory": 30}, 30 * SLOT + FLOAT, 0),
        (la_maml, {"memory": 20}, 20 * SLOT + FLOAT, FLOAT * NUM_WEIGHTS),
        (ewc, {}, 0, 2 * FLOAT * NUM_WEIGHTS),
        (meta_bgd, {"memory": 20}, 20 * SLOT + FLOAT, FLOAT * NUM_WEIGHTS),
        (
            meta_bgd,
            {"memory": 20, "learn_inner_lr": True},
            20 * SLOT + FLOAT,
            3 * FLOAT * NUM_WEIGHTS,
        ),
    ],
)
def test_storage_by_hand(factory, keywords, replay, per_parameter) -> None:
    model = networks.mlp(6, hidden=(HIDDEN,))
    learner = factory(model, small_setting(), **keywords)

    measured = storage(learner, model, make_batch(0, size=BATCH_SIZE))

    assert measured == (FLOAT * NUM_WEIGHTS, replay, per_parameter, 0)
