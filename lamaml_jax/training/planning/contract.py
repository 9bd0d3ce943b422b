"""A learner whose functions say in one sentence where they break a promise of `types.Learner`, while they are traced.

Dimensions: B batch, C classes.
"""

import numbers
from collections.abc import Callable, Set
from typing import Any

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks
from lamaml_jax.training import names
from lamaml_jax.types import Batch, Info, Learner, Setting, State

NEEDS = frozenset({"task_id", "task_data", "one_task", "mixed_stream"})

_KEEPS = "it must keep the tree, shapes and dtypes of what init returns"


def made(factory: Callable[[], Any], name: str, setting: Setting) -> Learner:
    """Return what a factory makes, with functions that are looked at whenever they are traced.

    Args:
        factory: Of no argument.
        name: Of the factory.
        setting: Which the learner is made for.

    Raises:
        ValueError: It makes no learner, or one of unknown needs, or floats of its settings cannot be traced. The
            learner's functions raise it where they fail, or return what a run cannot go on with.
    """
    try:
        learner = factory()
    except jax.errors.JAXTypeError as error:
        raise ValueError(
            f"learner is {name}, which raises {_said(error)} where its floats are traced, as runs share a program; it "
            "must take jnp.where or jax.lax.cond instead of if, and no float() of them."
        ) from error
    if not isinstance(learner, Learner):
        kind = type(learner).__name__
        raise ValueError(f"learner is {name}, which returns a {kind}; it must return a Learner.")
    if (sentence := unknown_needs(learner.needs)) is not None:
        raise ValueError(f"learner is {name}, which breaks a promise: {sentence}")
    return _watched(learner, name, setting)


def unknown_needs(needs: Any) -> str | None:
    """Return in one sentence what of a learner's needs no stream knows of."""
    allowed = ", ".join(map(repr, sorted(NEEDS)))
    if not isinstance(needs, Set):  # a text would have its parts looked up
        return f"needs is {needs!r:.60}; it must be a frozenset of {allowed}."
    if not needs <= NEEDS:
        unknown = ", ".join(sorted(map(repr, needs - NEEDS)))
        return f"{unknown} is unknown; a method may need {allowed}."
    return None


def first_change(function: str, before: State, after: State) -> str | None:
    """Return in one sentence where a function's state is of another tree, shape or dtype than the one it took."""
    trees: list[Any] = [jax.tree.structure(tree) for tree in (after, before)]
    if trees[0] != trees[1]:
        return f"{function} returns a state of another tree; {_KEEPS}."
    pairs = zip(jax.tree_util.tree_leaves_with_path(after), jax.tree.leaves(before), strict=True)
    for (path, leaf), old in pairs:
        if aval(leaf) != aval(old):
            where = f"state{jax.tree_util.keystr(path)}"
            return f"{function} makes {where} {aval(leaf)}, which init made {aval(old)}; {_KEEPS}."
    return None


def key_in(state: State) -> str | None:
    """Return in one sentence where a state has a key, which could not be kept in a file."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            where = f"state{jax.tree_util.keystr(path)}"
            return f"{where} is a key; a state has numbers (jax.random.key_data)."
    return None


def no_pair(returned: Any) -> str | None:
    """Return in one sentence what an update returns instead of state and info."""
    if isinstance(returned, tuple) and len(returned) == 2:
        return None
    return f"update returns no pair but {type(returned).__name__}; it must return (state, info)."


def wrong_info(info: Any) -> str | None:
    """Return in one sentence what is no scalar by name in an update's info, or a name that a record has already."""
    if not isinstance(info, dict) or not all(isinstance(name, str) for name in info):
        kind = type(info).__name__
        return f"update returns a {kind}; its info must be a dict of scalars by name."
    for name, value in info.items():
        if not isinstance(value, numbers.Number) and not hasattr(value, "dtype"):
            return f"{name} is a {type(value).__name__}; it must be a scalar."
        if shape := jnp.shape(value):
            return f"{name} is of shape {shape}; it must be a scalar, such as the mean of that."
    return names.taken(info)


def wrong_scores(scores: Any, num_inputs: int, num_classes: int) -> str | None:
    """Return in one sentence why a prediction is no row of scores per input."""
    allowed = (num_inputs, num_classes)
    is_array = hasattr(scores, "shape") and hasattr(scores, "dtype")
    if is_array and scores.shape == allowed and jnp.issubdtype(scores.dtype, jnp.floating):
        return None
    found = aval(scores) if is_array else f"a {type(scores).__name__}"
    return (
        f"predict returns {found} for {num_inputs} inputs; it must return scores {allowed}, [B, C]."
    )


def aval(leaf: Any) -> str:
    """Return what a compiled program knows of an array, as "float32[3]"."""
    is_weak = getattr(leaf, "weak_type", False)
    weak = ", of weak type (a Python number)" if is_weak else ""
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]{weak}"


def _watched(learner: Learner, name: str, setting: Setting) -> Learner:
    """Return a learner whose functions raise ValueError where they fail, or one of the checks above finds a breach."""

    def refuse(sentence: str | None) -> None:
        if sentence is not None:
            raise ValueError(f"learner is {name}, which breaks a promise: {sentence}")

    def called(function: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(learner, function)(*args, **kwargs)
        except checks.Refusal:  # which says by itself what is wrong, be it the model
            raise
        except Exception as error:  # of any kind, as the function may be a user's
            raise ValueError(
                f"learner is {name}, whose {function} raises {_said(error)} while it is traced; "
                f"lamaml_jax.testing.check_learner({name}) looks at each promise of a learner by itself."
            ) from error

    def init(key: chex.PRNGKey, example: Batch) -> State:
        state = called("init", key, example)
        refuse(key_in(jax.eval_shape(lambda: state)))  # a number of Python's is as good as an array
        return state

    def update(key: chex.PRNGKey, state: State, batch: Batch) -> tuple[State, Info]:
        returned = called("update", key, state, batch)
        refuse(no_pair(returned))
        refuse(first_change("update", _strong(state), _strong(returned[0])))
        refuse(wrong_info(returned[1]))
        return returned

    def end_task(key: chex.PRNGKey, state: State, data: Batch | None) -> State:
        ended = called("end_task", key, state, data)
        refuse(first_change("end_task", _strong(state), _strong(ended)))
        return ended

    def predict(
        state: State, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        scores = called("predict", state, x, task, key=key)
        refuse(wrong_scores(scores, len(x), setting.num_classes))
        return scores

    return learner._replace(init=init, update=update, end_task=end_task, predict=predict)


def _strong(state: State) -> State:
    """Return a state's shapes and dtypes; Python's numbers are as good as arrays in a loop's carry."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.asarray(leaf).dtype), state
    )


def _said(error: Exception) -> str:
    message = (str(error) or "no message").strip().splitlines()[0].rstrip(".")
    return f"{type(error).__name__} ({message})"
