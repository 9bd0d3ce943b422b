"""A learner that learns nothing and writes down what it is shown."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import Batch, Learner, replay
from lamaml_jax.types import Setting


class Diary(NamedTuple):
    """All examples in the order in which they came, the facts of every batch, and of every task's end."""

    seen: replay.Memory
    batches: jax.Array  # [steps, 3]: valid rows, first_epoch, progress
    num_batches: jax.Array
    ends: jax.Array  # [tasks, 2]: examples handed over, and the sum of their labels
    num_ends: jax.Array


def diarist(setting: Setting, *, needs: frozenset[str] = frozenset()) -> Learner:
    """Return a learner that learns nothing and writes down what it is shown."""
    steps = 4 * setting.num_tasks * setting.epochs * setting.batches_per_epoch

    def init(key: chex.PRNGKey, example: Batch) -> Diary:
        seen = replay.init(example, steps * setting.batch_size)
        none = jnp.int32(0)
        return Diary(seen, jnp.zeros((steps, 3)), none, jnp.zeros((setting.num_tasks, 2)), none)

    def update(key: chex.PRNGKey, diary: Diary, batch: Batch) -> tuple[Diary, Any]:
        facts = jnp.stack([batch.valid.sum(), batch.first_epoch, batch.progress])
        return diary._replace(
            seen=replay.add_ring(diary.seen, batch),
            batches=diary.batches.at[diary.num_batches].set(facts),
            num_batches=diary.num_batches + 1,
        ), {"key": jax.random.uniform(key)}

    def end_task(key: chex.PRNGKey, diary: Diary, data: Batch | None) -> Diary:
        facts = jnp.zeros(2) if data is None else jnp.stack([data.valid.sum(), data.y.sum()])
        return diary._replace(
            ends=diary.ends.at[diary.num_ends].set(facts), num_ends=diary.num_ends + 1
        )

    def predict(diary: Diary, x: jax.Array, task: jax.Array, key: Any = None) -> jax.Array:
        return x[:, :10]

    return Learner(init, update, predict, end_task, needs)
