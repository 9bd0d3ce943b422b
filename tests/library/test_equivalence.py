"""Appendix B: the gap between meta-gradient and surrogate closes as alpha^2, on a smooth network in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

from lamaml_jax import lookahead, split
from lamaml_jax.analysis import log_log_slope, meta_gradient_gaps, surrogate_loss

pytestmark = pytest.mark.usefixtures("quick_compile")

RATES = 2.0 ** -np.arange(6, 13)


def loss_fn(params: dict[str, jax.Array], batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w"] + params["b"]) @ params["v"] - y) ** 2)


def problem(num_pieces: int) -> tuple[Any, Any, Any]:
    """Return weights, pieces of two examples each, and a meta-batch."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape))

    params = {"w": normal(3, 5), "b": normal(5), "v": normal(5)}
    incoming = normal(2 * num_pieces, 3), normal(2 * num_pieces)
    return params, split(incoming, num_pieces), (normal(6, 3), normal(6))


@pytest.mark.parametrize("num_steps", [1, 3])
def test_the_gap_closes_as_the_rates_square_and_without_the_term_as_the_rate(
    x64: None, num_steps: int
) -> None:
    params, pieces, meta_batch = problem(num_steps)
    gaps = jax.jit(
        lambda params, lrs: meta_gradient_gaps(loss_fn, params, lrs, pieces, meta_batch)
    )(params, RATES)
    assert log_log_slope(RATES[2:], gaps.surrogate[2:]) == pytest.approx(2, abs=0.05)
    assert log_log_slope(RATES[2:], gaps.joint[2:]) == pytest.approx(1, abs=0.05)
    assert gaps.surrogate.dtype == jnp.float64


def test_gaps_of_a_quadratic_have_a_closed_form(x64: None) -> None:
    """With l = a theta^2 / 2 and L = b theta^2 / 2 the meta-gradient is b (1 - alpha a)^2 theta, for one step."""

    def quadratic(theta: jax.Array, curvature: float) -> jax.Array:
        return 0.5 * curvature * theta**2

    a, b, theta, lrs = 3.0, 0.5, jnp.asarray(2.0), np.array([0.1, 0.01])
    gaps = meta_gradient_gaps(quadratic, theta, lrs, [a], b)
    # L - alpha grad L grad l = (b / 2 - alpha a b) theta^2: the gradients differ by b alpha^2 a^2 theta.
    assert_close(gaps.surrogate, b * lrs**2 * a**2 * 2, 1e-12)
    assert_close(gaps.joint, b * 2 * np.abs((1 - lrs * a) ** 2 - 1), 1e-12)
    assert_close(gaps.gradient_norm, 1.0, 1e-12)
    assert_close(surrogate_loss(quadratic, theta, 0.1, [a], b), 0.25 * 4 - 0.1 * (1 * 6), 1e-12)


def test_the_surrogate_is_the_meta_loss_to_first_order_in_the_rate(x64: None) -> None:
    params, pieces, meta_batch = problem(3)

    def looked_ahead(lr: jax.Array) -> jax.Array:
        return loss_fn(lookahead(loss_fn, params, lr, pieces)[-1], meta_batch)

    def surrogate(lr: jax.Array) -> jax.Array:
        return surrogate_loss(loss_fn, params, lr, pieces, meta_batch)

    for function in (jax.value_and_grad(looked_ahead), jax.value_and_grad(surrogate)):
        value, slope = function(jnp.asarray(0.0))
        assert float(value) == pytest.approx(float(loss_fn(params, meta_batch)), rel=1e-12)
        assert float(slope) == pytest.approx(float(jax.grad(looked_ahead)(0.0)), rel=1e-12)


def test_a_slope_is_the_power_of_a_power_law() -> None:
    x = np.array([1e-4, 1e-2, 3.0])
    assert log_log_slope(x, 7 * x**2.5) == pytest.approx(2.5)
    # By hand: log y = 0, 0, 3 over log x = 0, 1, 2 has the slope 3 / 2.
    assert log_log_slope(np.exp([0, 1, 2]), np.exp([0, 0, 3])) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        ([1.0, 2.0], [0.0, 1.0], r"y is \[0. 1.\]; all values must be finite and > 0"),
        ([1.0, 2.0], [np.nan, 1.0], "y is .*; all values must be finite"),
        ([-1.0, 2.0], [1.0, 1.0], "x is .*; all values must be finite and > 0"),
        ([1.0], [1.0], r"x and y are of shape \(1,\) and \(1,\)"),
        ([2.0, 2.0], [1.0, 3.0], "x and y are of shape .* at least two different x"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"x and y are of shape \(2,\) and \(3,\)"),
    ],
)
def test_points_without_a_slope_are_refused(x: list[float], y: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        log_log_slope(x, y)
