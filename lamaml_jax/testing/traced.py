"""Promises of a learner that tracing shows, without a computation: each yields a sentence for every breach."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import hyper
from lamaml_jax.testing.trial import MODEL, SETTING, Trial, make_batch, task_data
from lamaml_jax.training.planning import contract
from lamaml_jax.types import Batch, Learner, State


def fixed_state(trial: Trial) -> Iterator[str]:
    """A state keeps its tree, shapes and dtypes, and so may be the carry of a scan."""
    learner, key, batch = trial.learner, jax.random.key(0), make_batch(0)
    start = jax.eval_shape(learner.init, key, batch)
    if sentence := contract.key_in(start):
        yield sentence
        return
    returned = jax.eval_shape(learner.update, key, start, batch)
    if sentence := contract.no_pair(returned):
        yield sentence
        return
    ended = jax.eval_shape(learner.end_task, key, start, task_data(learner, 0))
    for name, state in (("update", returned[0]), ("end_task", ended)):
        if sentence := contract.first_change(name, start, state):
            yield sentence
            return
    # A loop over batches is a scan; its carry is the state.
    batches = jax.tree.map(lambda a: np.stack([a, a]), batch)
    step = lambda state, inputs: learner.update(inputs[0], state, inputs[1])  # noqa: E731
    jax.eval_shape(functools.partial(jax.lax.scan, step), start, (jax.random.split(key), batches))


def info(trial: Trial) -> Iterator[str]:
    """An update reports scalars by name."""
    key, batch = jax.random.key(0), make_batch(0)
    state = jax.eval_shape(trial.learner.init, key, batch)
    _, info = jax.eval_shape(trial.learner.update, key, state, batch)
    if sentence := contract.wrong_info(info):
        yield sentence


def scores(trial: Trial) -> Iterator[str]:
    """A prediction is a row of scores per input, with a key or without."""
    state = jax.eval_shape(trial.learner.init, jax.random.key(0), make_batch(0))
    for size, key in ((1, None), (7, jax.random.key(0))):
        predict = functools.partial(trial.learner.predict, key=key)
        scores = jax.eval_shape(predict, state, make_batch(5, 0, size).x, jnp.int32(0))
        if sentence := contract.wrong_scores(scores, size, SETTING.num_classes):
            yield sentence


def traced_floats(
    trial: Trial, *, factory: Callable[..., Learner], keywords: Mapping[str, Any]
) -> Iterator[str]:
    """Float settings may be traced, so that many values share one program."""
    floats, static = hyper.part_floats(factory, dict(keywords))
    for name in [name for name, value in static.items() if value is None]:
        floats |= hyper.part_floats(factory, {name: 1.0} | floats)[0]
    others = {n: v for n, v in {**static, **keywords}.items() if n not in floats}

    def live(traced: dict[str, Any], constant: dict[str, Any]) -> Any:
        learner = factory(MODEL, SETTING, **others, **constant, **traced)
        return _live(learner, jax.random.key(0), make_batch(0))

    def broken(names: set[str]) -> str:
        traced = {n: jnp.float32(v) for n, v in floats.items() if n in names}
        constant = {n: v for n, v in floats.items() if n not in names}
        try:
            found = jax.eval_shape(functools.partial(live, constant=constant), traced)
        except jax.errors.JAXTypeError as error:
            return type(error).__name__
        expected = jax.eval_shape(lambda: live({}, floats))
        same = jax.tree.map(_dtyped, found) == jax.tree.map(_dtyped, expected)
        return "" if same else "another shape or dtype"

    if broken(set(floats)):
        for name in floats:
            if reason := broken({name}):
                allowed = "jnp.where or jax.lax.cond instead of if, and no float() of it"
                yield f"{name} cannot be traced ({reason}), as sweeps do; take {allowed}."


def _dtyped(leaf: Any) -> tuple[Any, Any]:
    return leaf.shape, leaf.dtype


def double_precision(
    trial: Trial, *, factory: Callable[..., Learner], keywords: Mapping[str, Any]
) -> Iterator[str]:
    """A state keeps its dtypes in double precision, too."""
    with jax.enable_x64(True):
        learner, batch = factory(MODEL, SETTING, **keywords), make_batch(0)
        batch = batch._replace(x=batch.x.astype(jnp.float64), y=batch.y.astype(jnp.int64))
        state = jax.eval_shape(learner.init, jax.random.key(0), batch)
        updated, _ = jax.eval_shape(learner.update, jax.random.key(0), state, batch)
    pairs = zip(jax.tree_util.tree_leaves_with_path(updated), jax.tree.leaves(state), strict=True)
    for (path, after), before in pairs:
        if _dtyped(after) != _dtyped(before):
            where = f"state{jax.tree_util.keystr(path)}"
            found, was = contract.aval(after), contract.aval(before)
            yield f"update makes {where} {found} under jax.enable_x64, where it was {was}."


def numpy_batches(trial: Trial) -> Iterator[str]:
    """Batches may be numpy arrays outside jit."""
    learner, batch = trial.learner, jax.tree.map(np.asarray, make_batch(0))
    # Not an argument of what is traced, the batch stays numpy's, as outside jit.
    state = jax.eval_shape(lambda key: learner.init(key, batch), jax.random.key(0))
    jax.eval_shape(lambda key, state: learner.update(key, state, batch), jax.random.key(0), state)
    yield from ()


def keys(trial: Trial) -> Iterator[str]:
    """No key is used twice."""
    try:
        with jax.debug_key_reuse(True):
            jax.eval_shape(
                functools.partial(_live, trial.learner), jax.random.key(0), make_batch(0)
            )
    except jax.errors.KeyReuseError as error:
        message = str(error).partition("\n")[0]
        yield f"a key is used twice, which makes draws depend on each other ({message}); split it."


def _live(learner: Learner, key: chex.PRNGKey, batch: Batch) -> tuple[State, Any, jax.Array]:
    """Call all functions of a learner once."""
    keys = jax.random.split(key, 4)
    state, info = learner.update(keys[1], learner.init(keys[0], batch), batch)
    state = learner.end_task(keys[2], state, task_data(learner, 0))
    return state, info, learner.predict(state, batch.x, jnp.int32(0), keys[3])
