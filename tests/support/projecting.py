"""GEM and A-GEM on a few batches: learners that project, gradients that oppose each other, and the steps taken."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import NUM_TASKS, small_setting

from lamaml_jax import Batch, Learner, Model, agem, gem, losses, networks

SHARED, PER_TASK = small_setting(per_task=False), small_setting()
MODEL = networks.mlp(SHARED.num_classes, hidden=(8, 8))
LINEAR = Model(
    lambda key, x: jnp.zeros((x.shape[1], SHARED.num_classes), x.dtype), lambda w, x: x @ w
)
KEY = jax.random.key(0)
SLOTS = 4
SMALL = {"lr": 0.1, "memory": SLOTS * NUM_TASKS}

Factory = Callable[..., Learner]
VARIANTS: dict[str, tuple[Factory, dict[str, Any]]] = {
    "gem": (gem, {"margin": 0.0}),
    "gem_with_margin": (gem, {"margin": 0.5}),
    "agem": (agem, {"reference": "sample", "replay_batch": 3}),
    "agem_mean": (agem, {"reference": "mean"}),
}
variants = pytest.mark.parametrize("variant", VARIANTS)


@functools.cache
def build(variant: str, per_task: bool = False, model: Model = MODEL, **keywords: Any) -> Learner:
    factory, own = VARIANTS[variant]
    setting = PER_TASK if per_task else SHARED
    return factory(model, setting, **SMALL | own | keywords)


@functools.cache
def updater(learner: Learner) -> Callable[..., tuple[Any, Any]]:
    return jax.jit(learner.update)


def learn(learner: Learner, *batches: Batch, state: Any = None) -> tuple[Any, Any]:
    """Return state and info after some batches, from the start unless another state is given."""
    if state is None:
        state = learner.init(KEY, batches[0])
        dtype = batches[0].x.dtype
        state = state._replace(params=jax.tree.map(lambda p: p.astype(dtype), state.params))
    info = None
    for i, batch in enumerate(batches):
        state, info = updater(learner)(jax.random.fold_in(KEY, i), state, batch)
    return state, info


def same_for_all(batch: Batch, task: int) -> Batch:
    """Return a batch of copies of its first example, as a task's."""
    x, y = (jnp.broadcast_to(a[:1], a.shape) for a in (batch.x, batch.y))
    return batch._replace(x=x, y=y, task=jnp.full_like(batch.task, task))


def relabelled(batch: Batch, task: int) -> Batch:
    """Return the same images as another task's, with other labels: with a shared head the two oppose each other."""
    return batch._replace(
        y=(batch.y + task + 1) % SHARED.num_classes, task=jnp.full_like(batch.task, task)
    )


def double(batch: Batch) -> Batch:
    return batch._replace(x=batch.x.astype(jnp.float64))


@functools.partial(jax.jit, static_argnames=("per_task", "model"))
def gradient(params: Any, batch: Batch, per_task: bool = False, model: Model = MODEL) -> jax.Array:
    setting = PER_TASK if per_task else SHARED
    grads = jax.grad(losses.task_loss(model.apply, setting))(params, batch)
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(grads)])


def last(batch: Batch, count: int = SLOTS) -> Batch:
    """Return the last examples of a batch: what a memory should hold of it."""
    fields = [a[-count:] for a in batch[:4]]
    return Batch(*fields)


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def step_taken(before: Any, after: Any) -> np.ndarray:
    """Return the direction that was descended along."""
    return (flat(before.params) - flat(after.params)) / SMALL["lr"]
