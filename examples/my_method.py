"""A method of one's own: SGD on what arrives and on a draw from the last examples seen."""

from typing import NamedTuple

import chex
import jax

from lamaml_jax import (
    Batch,
    Learner,
    Model,
    Setting,
    checks,
    descend,
    learner_factory,
    losses,
    replay,
)
from lamaml_jax.types import Info, NonNegative, Params


class RingState(NamedTuple):
    """Weights, and the last examples seen."""

    params: Params
    memory: replay.Memory


@learner_factory
def ring_replay(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.1,
    memory: int = 200,
    replay_batch: int = 10,
) -> Learner:
    """Return SGD of rate `lr` that replays `replay_batch` of the last `memory` examples."""
    checks.integer("memory", memory, 1)
    checks.integer("replay_batch", replay_batch, 0)
    loss_fn = losses.task_loss(model.apply, setting)

    def init(key: chex.PRNGKey, example: Batch) -> RingState:
        return RingState(model.init(key, example.x), replay.init(example, memory))

    def update(key: chex.PRNGKey, state: RingState, batch: Batch) -> tuple[RingState, Info]:
        incoming, replayed = replay.draw(key, state.memory, batch, size=replay_batch)
        loss, grads = jax.value_and_grad(loss_fn)(state.params, replay.join(replayed, incoming))
        params = descend(state.params, lr, grads)
        return RingState(params, replay.add_ring(state.memory, batch)), {"loss": loss}

    return Learner(init, update, losses.task_predict(model.apply, setting.class_mask))
