"""What every learner's factory does besides its method: check floats and bools, and keep padding out of the learner.

Dimensions: B batch.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import hyper
from lamaml_jax.pieces import filled_up
from lamaml_jax.types import Batch, Info, Learner, State

_P = ParamSpec("_P")


def learner_factory(factory: Callable[_P, Learner]) -> Callable[_P, Learner]:
    """Wrap `factory(model, setting, *, ...) -> Learner` so that all learners keep these promises.

    Floats that are not traced are checked against the ranges of their annotations, and bools are bools. Batches may be
    numpy arrays, and what stands in their padding is replaced before the method sees it, as 0 times NaN would be NaN.
    """

    @functools.wraps(factory)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> Learner:
        hyper.check_values(factory, kwargs)
        learner = factory(*args, **kwargs)
        # What is none is for the caller to refuse.
        return _sealed(learner) if isinstance(learner, Learner) else learner

    return checked


def _sealed(learner: Learner) -> Learner:
    def init(key: chex.PRNGKey, example: Batch) -> State:
        return learner.init(key, _without_padding(example))

    def update(key: chex.PRNGKey, state: State, batch: Batch) -> tuple[State, Info]:
        return learner.update(key, state, _without_padding(batch))

    def end_task(key: chex.PRNGKey, state: State, data: Batch | None) -> State:
        return learner.end_task(key, state, None if data is None else _without_padding(data))

    return learner._replace(init=init, update=update, end_task=end_task)


def _without_padding(batch: Batch) -> Batch:
    """Return the batch as JAX arrays, with its first example in its padding."""
    batch = jax.tree.map(jnp.asarray, batch)
    return filled_up(batch, batch)
