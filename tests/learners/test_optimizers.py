"""Learners with another optimizer than plain SGD, against optax driven by hand."""

import inspect
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from helpers import (
    BATCH_SIZE,
    MODEL,
    SETTING,
    assert_close,
    assert_same_bits,
    build,
    differs,
    first_rows,
    make_batch,
)

from lamaml_jax import LEARNERS, Batch, er, hypergradients, losses, split
from lamaml_jax.hyper import parse
from lamaml_jax.replay import Memory, join

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
LOSS = losses.task_loss(MODEL.apply, SETTING)
INNER = {"order": "first", "meta_loss_at": "every", "inner_lr_relu": True}
RATE = {"er": "lr", "c_maml": "outer_lr", "sync_la_maml": "outer_lr"}

with_optimizer = pytest.mark.parametrize("name", RATE)


def replay_itself(key: chex.PRNGKey, memory: Memory, batch: Batch) -> tuple[Batch, Batch]:
    """Draw nothing at random: each glance takes the incoming examples in order, twice."""
    return batch, batch


def gradient(name: str, state: Any, batch: Batch) -> Any:
    """Return the gradient that moves a learner's weights, as its method has it."""
    if name == "er":
        return jax.grad(LOSS)(state.params, join(batch, batch))
    rates = state.lrs if name == "sync_la_maml" else 0.1
    pieces = split(batch, 2)
    return hypergradients(LOSS, state.params, rates, pieces, join(batch, batch), **INNER)[1]


def run(learner: Any, num_updates: int = 4) -> list[Any]:
    """Return the states before and after each of a few updates."""
    states, update = [learner.init(KEY, make_batch(0))], jax.jit(learner.update)
    for step in range(num_updates):
        states.append(update(KEY, states[-1], make_batch(step))[0])
    return states


@with_optimizer
@pytest.mark.parametrize(
    ("optimizer", "by_hand"),
    [
        ("adam", optax.adam(0.05)),
        (optax.sgd(0.05, momentum=0.9), optax.sgd(0.05, momentum=0.9)),
    ],
    ids=["adam", "momentum"],
)
def test_steps_are_those_of_optax(
    name: str, optimizer: Any, by_hand: optax.GradientTransformation
) -> None:
    # An optax transformation brings its own rate: the learner's says nothing then.
    rate = 0.05 if isinstance(optimizer, str) else 77.0
    keywords = {"glances": 1, "clip_norm": None, "draw": replay_itself, RATE[name]: rate}
    states = run(build(name, optimizer=optimizer, **keywords))
    params, opt_state = states[0].params, by_hand.init(states[0].params)
    step = jax.jit(lambda state, batch: gradient(name, state, batch))
    for i, (before, after) in enumerate(zip(states, states[1:], strict=False)):
        grads = step(before, make_batch(i))
        updates, opt_state = by_hand.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        assert_close(after.params, params, 2e-6)
        assert differs(after.params, before.params)


@with_optimizer
def test_plain_sgd_is_the_default_and_has_no_state(name: str) -> None:
    start = jax.eval_shape(build(name).init, KEY, make_batch(0))
    assert not jax.tree.leaves(start.opt_state)
    assert inspect.signature(LEARNERS[name]).parameters["optimizer"].default == "sgd"


def test_momentum_rests_while_there_are_no_examples() -> None:
    learner = build("c_maml", optimizer=optax.sgd(0.05, momentum=0.9))
    *_, state = run(learner, 2)
    assert any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(state.opt_state))
    nothing = make_batch(9, valid=jnp.zeros(BATCH_SIZE, bool))
    assert_same_bits(jax.jit(learner.update)(KEY, state, nothing)[0], state)


def test_a_step_without_examples_does_not_count_among_others() -> None:
    """Of five steps on two examples each, two have none: the same as three steps on the examples alone."""
    left, batch = 6, make_batch(3)
    padded = batch._replace(valid=jnp.arange(BATCH_SIZE) < left)
    keywords = {"optimizer": "adam", "examples_per_step": 2, "draw": replay_itself, "glances": 2}
    learner = build("er", **keywords)
    shorter = er(MODEL, SETTING._replace(batch_size=left), memory=12, **keywords)
    *_, state = run(learner, 1)
    found, expected = (
        jax.jit(one.update)(KEY, state, given)[0]
        for one, given in ((learner, padded), (shorter, first_rows(batch, left)))
    )
    assert_close((found.params, found.opt_state), (expected.params, expected.opt_state), 1e-6)
    count = found.opt_state[0].count - state.opt_state[0].count
    assert int(count) == left // 2 * keywords["glances"]


@with_optimizer
def test_the_learning_rate_of_adam_may_be_traced(name: str) -> None:
    traces = []

    @jax.jit
    def moved(rate: jax.Array) -> Any:
        traces.append(name)
        learner = build(name, optimizer="adam", glances=1, **{RATE[name]: rate})
        state = learner.init(KEY, make_batch(0))
        after, _ = learner.update(KEY, state, make_batch(0))
        return jax.tree.map(jnp.subtract, after.params, state.params)

    small, large = moved(jnp.float32(0.01)), moved(jnp.float32(0.02))
    assert len(traces) == 1
    # Weights of about one, whose own rounding is the error of the differences.
    assert_close(jax.tree.map(lambda move: 2 * move, small), large, 1e-6)
    assert differs(small, large)


@with_optimizer
def test_optimizers_are_named_in_text_and_others_get_one_sentence(name: str) -> None:
    factory: Callable[..., Any] = LEARNERS[name]
    assert parse(factory, ["optimizer=adam"]) == {"optimizer": "adam"}
    with pytest.raises(ValueError, match=r"^optimizer is 'adm'; it must be sgd, adam\.$"):
        parse(factory, ["optimizer=adm"])
    for wrong in ("adm", None, optax.adam):
        with pytest.raises(
            ValueError, match="^optimizer is .*; it must be one of 'sgd' and 'adam',"
        ):
            build(name, optimizer=wrong)
