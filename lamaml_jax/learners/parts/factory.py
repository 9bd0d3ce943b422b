"""What every learner's factory does besides its method: check floats and bools, and keep padding out of the learner.

Dimensions: B batch.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

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
        batch = _without_padding(batch)
        returned: Any = learner.update(key, state, batch)
        if not isinstance(returned, tuple) or len(returned) != 2:
            return returned
        has_examples, (after, info) = batch.valid.any(), returned
        # Without an example there is none to fill padding with, and a loss or network may be NaN at zeros.
        return _after(has_examples, after, state), _counted(has_examples, info)

    def end_task(key: chex.PRNGKey, state: State, data: Batch | None) -> State:
        return learner.end_task(key, state, None if data is None else _without_padding(data))

    return learner._replace(init=init, update=update, end_task=end_task)


def _without_padding(batch: Batch) -> Batch:
    """Return the batch as JAX arrays, with its first example in its padding, or zeros where it has none."""
    batch = jax.tree.map(jnp.asarray, batch)
    # `zeros_like` of a weak type is weak, and so would the batch stay.
    x, y, task = (
        jnp.where(batch.valid[0], a[:1], jnp.zeros((1, *a.shape[1:]), a.dtype)) for a in batch[:3]
    )
    return filled_up(batch, batch._replace(x=x, y=y, task=task))


def _after(has_examples: jax.Array, new: State, old: State) -> State:
    """Return the state `new`, or `old` if the bool scalar `has_examples` says that nothing came.

    A memory is left as it is: only examples enter it, and it would be copied whole at every batch.
    """
    trees: list[Any] = [jax.tree.structure(tree) for tree in (new, old)]
    if trees[0] != trees[1]:
        return new

    def choose(new: Any, old: Any) -> Any:
        # What differs in shape or dtype is for the caller to refuse.
        is_same = jax.typeof(new) == jax.typeof(old)
        return jnp.where(has_examples, new, old) if is_same else new

    chosen = jax.tree.map(choose, new, old)
    return chosen._replace(memory=new.memory) if hasattr(new, "memory") else chosen


def _counted(has_examples: jax.Array, info: Info) -> Info:
    """Return the info with zeros for what is not finite of no example."""

    def count(value: Any) -> Any:
        if not isinstance(value, jax.Array) or not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        return jnp.where(has_examples | jnp.isfinite(value), value, 0)

    return jax.tree.map(count, info)
