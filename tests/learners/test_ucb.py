"""UCB: its divergence against quadrature, what sigma does to the rates, and prediction at the mean and by sampling."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, assert_same_bits, differs, make_batch, small_setting
from scipy import stats

from lamaml_jax import Batch, Learner, Model, Setting, networks, online, ucb

pytestmark = pytest.mark.usefixtures("quick_compile")

SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
KEY = jax.random.key(0)
ONE_TASK = Setting(1, 2, np.ones((1, 2), bool), batch_size=2, batches_per_epoch=5)
PAIR = Batch(jnp.ones(2), jnp.zeros(2, int), jnp.zeros(2, int), jnp.ones(2, bool))
MEANS = jnp.linspace(-1.5, 1.5, 200)


def update(learner: Learner, batch: Batch, state: Any = None) -> tuple[Any, Any]:
    state = learner.init(KEY, batch) if state is None else state
    return jax.jit(learner.update)(KEY, state, batch)


def blind_model() -> Model:
    """Return a network whose outputs no weight changes."""
    return Model(lambda key, x: MEANS, lambda params, x: jnp.zeros((*x.shape, 2)))


def constant_gradient_model() -> Model:
    """Return a network that is so sure of class 1 that every weight's gradient for class 0 is 1."""

    def apply(params: jax.Array, x: jax.Array) -> jax.Array:
        logit = jnp.broadcast_to(params.sum() + 1e4, x.shape)
        return jnp.stack([jnp.zeros_like(x), logit], axis=-1)

    return Model(lambda key, x: jnp.zeros(3), apply)


def quadrature_kl(mean: np.ndarray, std: float, pi: float, std1: float, std2: float) -> np.ndarray:
    """Return the divergence of N(mean, std^2) from the mixture, per weight."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    w = mean[:, None] + std * nodes
    log_q = stats.norm.logpdf(w, mean[:, None], std)
    p = pi * stats.norm.pdf(w, 0, std1) + (1 - pi) * stats.norm.pdf(w, 0, std2)
    return (log_q - np.log(p)) @ weights / weights.sum()


@pytest.mark.parametrize(("pi", "std2"), [(1.0, 0.0025), (0.25, 0.4), (0.0, 0.4)])
def test_divergence_and_its_gradient(pi: float, std2: float) -> None:
    mean, std, std1 = np.asarray(MEANS, np.float64), 0.3, 0.8
    learner = ucb(
        blind_model(),
        ONE_TASK,
        lr=1.0,
        rho_lr=2.0,
        std_init=std,
        prior_pi=pi,
        prior_std1=std1,
        prior_std2=std2,
        kl_weight=5.0,
        mc_samples=4000,
    )
    start = learner.init(KEY, PAIR)
    state, info = update(learner, PAIR, start)

    def kl(mean: np.ndarray, std: float) -> np.ndarray:
        return quadrature_kl(mean, std, pi, std1, std2)

    assert_close(info["kl"], kl(mean, std).sum(), 0.003)
    if pi == 1:
        closed_form = np.log(std1 / std) + (std**2 + mean**2) / (2 * std1**2) - 0.5
        assert_close(kl(mean, std), closed_form, 1e-9)
    by_mean = (kl(mean + 1e-4, std) - kl(mean - 1e-4, std)) / 2e-4
    by_std = (kl(mean, std + 1e-4) - kl(mean, std - 1e-4)) / 2e-4
    by_rho = by_std * (
        1 - np.exp(-std)
    )  # sigma = log(1 + exp(rho)), so dsigma/drho = 1 - exp(-sigma)
    weight = 5.0 / 10  # kl_weight over the task's examples
    assert np.abs(state.mean - start.mean + weight * by_mean).max() < 0.1 * np.abs(by_mean).max()
    assert_close((state.mean - start.mean) @ mean, -weight * by_mean @ mean, 0.01)
    assert_close((state.rho - start.rho).sum(), -2.0 * weight * by_rho.sum(), 0.02)


@pytest.mark.parametrize(
    ("model", "x_shape"),
    [(MODEL, (12,)), (networks.convnet(6, filters=(3,), hidden=(8,)), (6, 2, 1))],
    ids=["mlp", "convnet"],
)
def test_the_divergence_is_over_body_and_own_head(model: Model, x_shape: tuple[int, ...]) -> None:
    """Also where a unit is at rest, behind which no derivative tells what leads where."""
    batch = make_batch(0, task=1)
    batch = batch._replace(x=batch.x.reshape(-1, *x_shape))
    learner = ucb(model, SETTING, kl_weight=50.0, mc_samples=1)
    start = learner.init(KEY, batch)
    *_, hidden, output = start.mean
    start.mean[hidden]["bias"] = start.mean[hidden]["bias"].at[3].set(-1e4)
    with jax.debug_nans(True):  # what is NaN on the way is never seen
        state, _ = update(learner, batch, start)
    own = SETTING.class_mask[1]
    for before, after in ((start.mean, state.mean), (start.rho, state.rho)):
        moved = jax.tree.map(lambda a, b: np.asarray(a != b), before, after)
        for leaf in jax.tree.leaves(moved.pop(output)):
            assert leaf[..., own].all()
            assert not leaf[..., ~own].any()
        assert all(leaf.all() for leaf in jax.tree.leaves(moved))


@pytest.mark.parametrize("std", [0.001, 0.07, 200.0])
def test_sigma_starts_where_it_is_told_and_rates_as_lr(std: float) -> None:
    state = ucb(MODEL, SETTING, lr=0.2, std_init=std).init(KEY, make_batch(0))
    for rho, lrs in zip(jax.tree.leaves(state.rho), jax.tree.leaves(state.lrs), strict=True):
        np.testing.assert_allclose(jax.nn.softplus(rho), std, rtol=1e-5)
        assert_close(lrs, jnp.full_like(rho, 0.2))


def test_after_a_task_a_mean_moves_by_its_sigma() -> None:
    learner = ucb(constant_gradient_model(), ONE_TASK, lr=0.5, rho_lr=0.25, kl_weight=0.0)
    sigma = jnp.array([0.01, 0.1, 1.0])
    start = learner.init(KEY, PAIR)._replace(rho=jnp.log(jnp.expm1(sigma)))
    assert_close(update(learner, PAIR, start)[0].mean, jnp.full(3, -0.5))

    later = learner.end_task(KEY, start, None)
    state, _ = update(learner, PAIR, later)
    assert_close(state.mean, -0.5 * sigma)
    assert_same_bits(state.rho, update(learner, PAIR, start)[0].rho)
    assert_same_bits(state.lrs, later.lrs)
    assert_same_bits(learner.end_task(KEY, later, None), later)


def test_rho_learns_at_lr_unless_told_otherwise() -> None:
    def rho(**settings: Any) -> Any:
        return update(ucb(MODEL, SETTING, lr=0.2, **settings), make_batch(0))[0].rho

    assert_same_bits(rho(), rho(rho_lr=0.2))
    assert differs(rho(), rho(rho_lr=0.1))


@pytest.mark.parametrize("examples_per_step", [None, 1, 5])
def test_with_vanishing_sigma_the_first_task_is_online(examples_per_step: int | None) -> None:
    settings: dict[str, Any] = {"lr": 0.3, "examples_per_step": examples_per_step}
    plain, _ = update(online(MODEL, SETTING, **settings), make_batch(0))
    learner = ucb(MODEL, SETTING, std_init=1e-9, kl_weight=0.0, mc_samples=2, **settings)
    state, _ = update(learner, make_batch(0))
    assert_close(state.mean, plain.params)

    frozen, _ = update(learner, make_batch(1), learner.end_task(KEY, state, None))
    assert_close(frozen.mean, state.mean, 1e-7)


def test_clipping_bounds_the_step() -> None:
    learner = ucb(MODEL, SETTING, lr=1.0, clip_norm=0.01)
    start = learner.init(KEY, make_batch(0))
    state, info = update(learner, make_batch(0), start)
    moves = optax.tree.sub((state.mean, state.rho), (start.mean, start.rho))
    assert info["gradient_norm"] > 1
    np.testing.assert_allclose(optax.tree.norm(moves), 0.01, rtol=1e-3)


def test_samples_are_drawn_anew_for_every_step() -> None:
    learner = ucb(MODEL, SETTING, mc_samples=1)
    start = learner.init(KEY, make_batch(0))
    one, other = (learner.update(jax.random.key(i), start, make_batch(0))[0] for i in range(2))
    assert differs(one, other)


def test_padding_alone_moves_nothing() -> None:
    learner = ucb(MODEL, SETTING, lr=1.0)
    padding = make_batch(0, valid=jnp.zeros(SETTING.batch_size, bool))
    start = learner.init(KEY, padding)
    assert_same_bits(update(learner, padding, start)[0], start)


def predictions(std_init: float, eval_samples: int, key: Any = None) -> jax.Array:
    learner = ucb(MODEL, SETTING, std_init=std_init, eval_samples=eval_samples)
    batch = make_batch(0, task=1)
    return learner.predict(learner.init(KEY, batch), batch.x, jnp.int32(1), key)


def test_sampling_with_vanishing_sigma_predicts_as_the_mean_does() -> None:
    sampled = predictions(1e-9, eval_samples=4, key=KEY)
    assert_close(sampled, jax.nn.log_softmax(predictions(1e-9, eval_samples=0)))
    assert differs(predictions(0.5, eval_samples=4, key=KEY), sampled)


def test_sampled_predictions_follow_the_key() -> None:
    other = predictions(0.5, eval_samples=4, key=jax.random.key(1))
    assert_same_bits(predictions(0.5, eval_samples=4, key=KEY), predictions(0.5, 4, KEY))
    assert differs(predictions(0.5, eval_samples=4, key=KEY), other)
    assert_same_bits(predictions(0.5, 0, KEY), predictions(0.5, 0))


def test_sampling_averages_probabilities() -> None:
    def apply(params: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.stack([50 * params * x, jnp.zeros_like(x)], axis=-1)

    model = Model(lambda key, x: jnp.float32(1), apply)
    learner = ucb(model, ONE_TASK, std_init=1.0, eval_samples=2000)
    scores = learner.predict(learner.init(KEY, PAIR), PAIR.x, jnp.int32(0), KEY)
    share = stats.norm.cdf(1)  # of the samples that are all but sure of class 0
    np.testing.assert_allclose(jnp.exp(scores), [[share, 1 - share]] * 2, atol=0.03)


def test_sampling_needs_a_key() -> None:
    with pytest.raises(ValueError, match=r"^key is None; it must be a key to draw 4 samples"):
        predictions(0.5, eval_samples=4)
