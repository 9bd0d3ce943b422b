"""EWC: its Fisher information by hand, and its running sums against the penalty with every task's Fisher stored."""

import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import (
    NUM_FEATURES,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
    small_setting,
)

from lamaml_jax import Batch, Learner, Model, ewc, losses, networks, online
from lamaml_jax.learners.ewc import EwcState

pytestmark = pytest.mark.usefixtures("quick_compile")

SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
KEY = jax.random.key(0)


def linear_model(num_classes: int, num_features: int) -> Model:
    def init(key: chex.PRNGKey, x: jax.Array) -> jax.Array:
        return jax.random.normal(key, (num_features, num_classes))

    return Model(init, lambda params, x: x @ params)


def consolidate(learner: Learner, data: Batch, key: chex.PRNGKey = KEY) -> tuple[Any, Any]:
    """Return a first state, and the state after a task that changed no weights."""
    state = learner.init(KEY, data)
    return state, jax.jit(learner.end_task)(key, state, data)


def example_gradients(params: jax.Array, data: Batch) -> np.ndarray:
    """Return the gradients `[N, D, C]` of a linear model's loss over the task's own outputs, written out."""
    own = SETTING.class_mask[np.asarray(data.task)]
    exps = np.exp(np.asarray(data.x @ params)) * own
    residual = exps / exps.sum(axis=1, keepdims=True) - np.eye(SETTING.num_classes)[data.y]
    return np.asarray(data.x)[:, :, None] * residual[:, None, :]


@pytest.mark.parametrize("drawn", [None, 100])
@pytest.mark.parametrize("kind", ["per_example", "batch"])
def test_the_fisher_of_given_labels_by_hand(kind: Any, drawn: int | None) -> None:
    model = linear_model(SETTING.num_classes, NUM_FEATURES)
    learner = ewc(model, SETTING, fisher=kind, fisher_labels="data", fisher_examples=drawn)
    data = make_batch(0, task=1, size=23, valid=jnp.arange(23) != 5)
    start, end = consolidate(learner, data)
    used = [n for n in range(23) if n != 5]
    grads = example_gradients(start.params, data)[used]
    by_hand = np.mean(grads**2, axis=0) if kind == "per_example" else np.mean(grads, axis=0) ** 2
    assert_close(end.fisher, by_hand)
    assert_close(end.fisher_params, by_hand * np.asarray(start.params))
    assert_same_bits(end.params, start.params)


def test_the_fisher_is_estimated_on_examples_drawn_from_all_of_the_task() -> None:
    """On three of the examples, of which any three are as likely as others, and none of the padding."""
    model = linear_model(SETTING.num_classes, NUM_FEATURES)
    learner = ewc(model, SETTING, fisher_labels="data", fisher_examples=3)
    data = make_batch(0, task=1, size=12, valid=jnp.arange(12) < 8)
    state = learner.init(KEY, data)
    keys = jax.random.split(KEY, 2000)
    fishers = np.array(
        jax.jit(jax.vmap(lambda key: learner.end_task(key, state, data).fisher))(keys)
    )
    squares = example_gradients(state.params, data) ** 2
    triples = np.array(
        [squares[list(rows)].mean(axis=0) for rows in itertools.combinations(range(8), 3)]
    )
    distances = np.abs(fishers[:, None] - triples).max(axis=(2, 3))
    assert distances.min(axis=1).max() < 1e-5
    counts = np.bincount(distances.argmin(axis=1), minlength=len(triples))
    assert counts.min() > 0.3 * 2000 / 56 and counts.max() < 2 * 2000 / 56


def test_the_fisher_of_the_models_labels_is_its_expectation() -> None:
    """For a linear softmax it is E_x[x_d^2 p_c (1 - p_c)] with p over the task's own outputs."""
    model = linear_model(SETTING.num_classes, NUM_FEATURES)
    few = make_batch(0, task=1, size=4)
    data = Batch(*(jnp.concatenate([a] * 1000) for a in few[:4]))
    start, end = consolidate(ewc(model, SETTING), data)
    exps = np.exp(np.asarray(few.x @ start.params)) * SETTING.class_mask[1]
    p = exps / exps.sum(axis=1, keepdims=True)
    expected = np.mean(np.asarray(few.x)[:, :, None] ** 2 * (p * (1 - p))[:, None, :], axis=0)
    np.testing.assert_allclose(end.fisher, expected, rtol=0.1)
    given = consolidate(ewc(model, SETTING, fisher_labels="data"), data)[1]
    assert np.max(np.abs(given.fisher - expected)[:, 2:4] / expected[:, 2:4]) > 0.3


def test_a_batch_fisher_of_the_models_labels_is_that_of_examples_over_their_number() -> None:
    model = linear_model(SETTING.num_classes, NUM_FEATURES)
    data = make_batch(0, task=1, size=5)
    keys = jax.random.split(KEY, 2000)
    means = []
    for kind in ("per_example", "batch"):
        learner = ewc(model, SETTING, fisher=kind)
        state = learner.init(KEY, data)
        fishers = jax.jit(jax.vmap(lambda key: learner.end_task(key, state, data).fisher))(keys)  # noqa: B023
        means.append(np.mean(fishers, axis=0)[:, 2:4])
    np.testing.assert_allclose(5 * means[1], means[0], rtol=0.15)


def test_other_keys_draw_other_labels() -> None:
    data = make_batch(0, size=8)
    first, second = (consolidate(ewc(MODEL, SETTING), data, jax.random.key(i))[1] for i in (0, 1))
    assert differs(first, second)


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize(("fisher", "penalty"), [("per_example", 30.0), ("batch", 300.0)])
def test_two_sums_replace_the_fishers_of_all_tasks(
    fisher: Any, penalty: float, clip_norm: float | None
) -> None:
    """Each step is one on the loss plus lambda/2 sum_t F_t (theta - theta*_t)^2, with T Fishers stored.

    A task that comes back and ends again has a second one.
    """
    lr = 0.1
    learner = ewc(MODEL, SETTING, lr=lr, penalty=penalty, fisher=fisher, clip_norm=clip_norm)
    update, end_task = jax.jit(learner.update), jax.jit(learner.end_task)
    loss_and_grad = jax.jit(jax.value_and_grad(losses.task_loss(MODEL.apply, SETTING)))
    state = learner.init(KEY, make_batch(0))
    stored: list[tuple[Any, Any]] = []

    def term(params: Any) -> jax.Array:
        squares = [
            jax.tree.map(lambda f, p, p_old: jnp.sum(f * (p - p_old) ** 2), fisher, params, old)
            for fisher, old in stored
        ]
        return penalty / 2 * optax.tree.sum(squares)

    for task in (1, 0, 1):
        for step in range(3):
            batch = make_batch(step, task)
            loss, grads = loss_and_grad(state.params, batch)
            pull = jax.grad(term)(state.params)
            grads = jax.tree.map(jnp.add, grads, pull)
            norm = optax.tree.norm(grads)
            scale = 1.0 if clip_norm is None else min(1.0, clip_norm / float(norm))
            by_hand = optax.tree.add_scale(state.params, -lr * scale, grads)
            state, info = update(KEY, state, batch)
            assert_close(state.params, by_hand)
            assert_close(info, {"loss": loss, "gradient_norm": norm}, 1e-4)
        before = state.fisher
        state = end_task(KEY, state, make_batch(99, task, 40))
        stored.append((jax.tree.map(jnp.subtract, state.fisher, before), state.params))
    assert optax.tree.norm(pull) > 0.01


@pytest.mark.parametrize("keywords", [{}, {"examples_per_step": 1}, {"clip_norm": 0.5}], ids=str)
def test_without_penalty_it_is_online(keywords: dict[str, Any]) -> None:
    learner = ewc(MODEL, SETTING, lr=0.1, penalty=0.0, **keywords)
    plain = online(MODEL, SETTING, lr=0.1, **keywords)
    state, expected = learner.init(KEY, make_batch(0)), plain.init(KEY, make_batch(0))
    for task in range(2):
        for step in range(2):
            batch = make_batch(step, task)
            state, _ = jax.jit(learner.update)(KEY, state, batch)
            expected, _ = jax.jit(plain.update)(KEY, expected, batch)
        state = jax.jit(learner.end_task)(KEY, state, make_batch(99, task, 40))
    assert_same_bits(state.params, expected.params)


def test_a_batch_of_padding_pulls_nowhere() -> None:
    learner = ewc(MODEL, SETTING, lr=0.1, penalty=10.0)
    start, _ = consolidate(learner, make_batch(0))
    far = jax.tree.map(jnp.ones_like, start.params)
    state = EwcState(start.params, fisher=far, fisher_params=far)
    padding = make_batch(0, valid=jnp.zeros(10, bool))
    assert_same_bits(learner.update(KEY, state, padding)[0].params, state.params)
    assert differs(learner.update(KEY, state, make_batch(0))[0].params, state.params)


def test_it_asks_for_the_tasks_data() -> None:
    learner = ewc(MODEL, SETTING)
    assert learner.needs == {"task_data"}
    with pytest.raises(ValueError, match=r"data is None; it must be the task's training data\."):
        learner.end_task(KEY, learner.init(KEY, make_batch(0)), None)


@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_a_bad_number_of_fisher_examples_gets_one_sentence(value: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"fisher_examples is {value!r}; it must be an integer >= 1\."
    ):
        ewc(MODEL, SETTING, fisher_examples=value)
