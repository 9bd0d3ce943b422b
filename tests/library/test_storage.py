"""What a learner keeps beyond the weights is measured and told apart."""

from typing import Any

import pytest
from helpers import NUM_FEATURES, NUM_TASKS, make_batch, small_setting

from lamaml_jax import LEARNERS, networks, storage

FLOAT, HIDDEN = 4, 8
NUM_WEIGHTS = NUM_FEATURES * HIDDEN + HIDDEN + HIDDEN * 6 + 6
SLOT = FLOAT * (NUM_FEATURES + 2)  # an example, its label and its task


@pytest.mark.parametrize(
    ("name", "keywords", "replay", "per_parameter", "other"),
    [
        ("online", {}, 0, 0, 0),
        ("er", {"memory": 30}, 30 * SLOT + FLOAT, 0, 0),
        # Adam has two moments of every weight, and counts its steps.
        (
            "er",
            {"memory": 30, "optimizer": "adam"},
            30 * SLOT + FLOAT,
            2 * FLOAT * NUM_WEIGHTS,
            FLOAT,
        ),
        ("la_maml", {"memory": 20}, 20 * SLOT + FLOAT, FLOAT * NUM_WEIGHTS, 0),
        # The outputs of every example.
        (
            "la_der",
            {"memory": 20},
            20 * (SLOT + FLOAT * 6) + FLOAT,
            FLOAT * NUM_WEIGHTS,
            0,
        ),
        ("ewc", {}, 0, 2 * FLOAT * NUM_WEIGHTS, 0),
        # Momentum; a basis of the first layer's inputs, with a weight and its momentum for each of its directions; the
        # tasks that were seen, and two more flags. The output layer, where tasks have heads of their own, has no basis.
        (
            "fs_dgpm",
            {"memory": 20},
            20 * SLOT + FLOAT,
            FLOAT * NUM_WEIGHTS,
            FLOAT * (NUM_FEATURES + 2) * NUM_FEATURES + NUM_TASKS + 2,
        ),
        # A count for every task's ring, and the number of the first task.
        ("gem", {"memory": 30}, 30 * SLOT + NUM_TASKS * FLOAT, 0, FLOAT),
        # An exemplar has the old network's outputs for the two classes of its task, and whether it is one.
        ("icarl", {"memory": 30}, 30 * (SLOT + 2 * FLOAT + 1) + NUM_TASKS * FLOAT, 0, 0),
        ("bgd", {}, 0, FLOAT * NUM_WEIGHTS, 0),
        ("ucb", {}, 0, 2 * FLOAT * NUM_WEIGHTS, 0),
        # An embedding of every hidden unit for every task, which were trained and ended, and a count of batches.
        ("hat", {}, 0, 0, NUM_TASKS * (FLOAT * HIDDEN + 2) + FLOAT),
        ("meta_bgd", {"memory": 20}, 20 * SLOT + FLOAT, FLOAT * NUM_WEIGHTS, 0),
        (
            "meta_bgd",
            {"memory": 20, "learn_inner_lr": True},
            20 * SLOT + FLOAT,
            3 * FLOAT * NUM_WEIGHTS,
            0,
        ),
    ],
)
def test_storage_by_hand(
    name: str, keywords: dict[str, Any], replay: int, per_parameter: int, other: int
) -> None:
    model = networks.mlp(6, hidden=(HIDDEN,))
    learner = LEARNERS[name](model, small_setting(), **keywords)

    measured = storage.measure(learner, model, make_batch(0))

    assert measured == (FLOAT * NUM_WEIGHTS, replay, per_parameter, other)
