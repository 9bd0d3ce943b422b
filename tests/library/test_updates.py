"""The update rules against finite differences, closed forms and hand-computed steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, differs
from jax.flatten_util import ravel_pytree

import lamaml_jax
from lamaml_jax import descend, lookahead, meta_objective, modulated_step, split

pytestmark = pytest.mark.usefixtures("quick_compile")

STATIC = ("loss_fn", "order", "meta_loss_at", "inner_lr_relu", "inner_clip", "inner_clip_norm")
hypergradients = jax.jit(lamaml_jax.hypergradients, static_argnames=STATIC)

ORDERS = pytest.mark.parametrize("order", ["first", "second"])
READINGS = pytest.mark.parametrize(
    "reading",
    [
        {},
        {"meta_loss_at": "last"},
        {"inner_lr_relu": True},
        {"inner_clip": 0.05},
        {"inner_clip_norm": 0.3},
        {"inner_clip_norm": 0.3, "inner_clip": 0.05},
        {"meta_loss_at": "last", "inner_lr_relu": True, "inner_clip": 0.05},
    ],
    ids=lambda reading: "-".join(reading) or "defaults",
)


class Net(NamedTuple):
    """Weights of a smooth network, 3-4-2."""

    hidden: dict[str, jax.Array]
    out: list[jax.Array]


class Problem(NamedTuple):
    """Weights, a rate for each (some below zero), three inner pieces and a meta-batch."""

    params: Net
    lrs: Net
    pieces: list[Any]
    meta_batch: Any


def net_loss(params: Net, batch: Any) -> jax.Array:
    x, y = batch
    hidden = jnp.tanh(x @ params.hidden["kernel"] + params.hidden["bias"])
    logits = hidden @ params.out[0] + params.out[1]
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(y)), y])


@pytest.fixture
def problem(x64: None) -> Problem:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape))

    def examples(size: int) -> tuple[jax.Array, jax.Array]:
        return normal(size, 3), jnp.asarray(rng.integers(2, size=size))

    params = Net({"kernel": normal(3, 4), "bias": normal(4)}, [normal(4, 2), normal(2)])
    lrs = jax.tree.map(lambda p: jnp.asarray(rng.uniform(-0.2, 0.6, p.shape)), params)
    return Problem(params, lrs, split(examples(6), 3), examples(5))


def inner_steps(loss_fn: Any, params: Any, lrs: Any, pieces: Any, **reading: Any) -> list[Any]:
    """Return theta_0, ..., theta_K and the inner gradients, written out as plainly as can be."""
    if reading.get("inner_lr_relu"):
        lrs = jax.tree.map(lambda a: jnp.where(a > 0, a, 0), lrs)
    bound, norm = (reading.get(k) or np.inf for k in ("inner_clip", "inner_clip_norm"))
    thetas, grads = [params], []
    for piece in pieces:
        grad = jax.grad(loss_fn)(thetas[-1], piece)
        flat, unravel = ravel_pytree(grad)
        grad = unravel(jnp.minimum(1, norm / jnp.linalg.norm(flat)) * flat)
        grads.append(jax.tree.map(lambda g: jnp.minimum(jnp.maximum(g, -bound), bound), grad))
        thetas.append(jax.tree.map(lambda p, a, g: p - a * g, thetas[-1], lrs, grads[-1]))
    return [thetas, grads]


def finite_differences(function: Callable[[Any], jax.Array], at: Any, step: float = 1e-5) -> Any:
    flat, unravel = ravel_pytree(at)
    moves = step * jnp.eye(len(flat))
    values = jax.jit(jax.vmap(lambda move: function(unravel(flat + move))))
    return unravel((values(moves) - values(-moves)) / (2 * step))


@READINGS
def test_second_order_hypergradients_are_those_of_the_true_objective(
    problem: Problem, reading: dict[str, Any]
) -> None:
    params, lrs, pieces, meta_batch = problem

    def objective(params: Net, lrs: Net) -> jax.Array:
        thetas, _ = inner_steps(net_loss, params, lrs, pieces, **reading)
        used = thetas[-1:] if reading.get("meta_loss_at") == "last" else thetas[1:]
        return sum(net_loss(theta, meta_batch) for theta in used) / len(used)

    loss, grads, lr_grads = hypergradients(
        net_loss, params, lrs, pieces, meta_batch, order="second", **reading
    )
    assert_close(loss, objective(params, lrs), 1e-12)
    assert_close(grads, finite_differences(lambda p: objective(p, lrs), params), 1e-8)
    assert_close(lr_grads, finite_differences(lambda a: objective(params, a), lrs), 1e-8)


@READINGS
def test_first_order_hypergradients_have_their_closed_form(
    problem: Problem, reading: dict[str, Any]
) -> None:
    """The mean of grad L(theta_k), and minus its product with the inner gradients summed before theta_k."""
    params, lrs, pieces, meta_batch = problem
    thetas, inner = inner_steps(net_loss, params, lrs, pieces, **reading)
    steps = [3] if reading.get("meta_loss_at") == "last" else [1, 2, 3]
    expected = jax.tree.map(jnp.zeros_like, params)
    expected_lr = jax.tree.map(jnp.zeros_like, params)
    for k in steps:
        outer = jax.grad(net_loss)(thetas[k], meta_batch)
        summed = jax.tree.map(lambda *g: sum(g), *inner[:k])
        expected = jax.tree.map(lambda e, g: e + g / len(steps), expected, outer)
        expected_lr = jax.tree.map(
            lambda e, g, s: e - g * s / len(steps), expected_lr, outer, summed
        )
    if reading.get("inner_lr_relu"):
        expected_lr = jax.tree.map(lambda e, a: jnp.where(a > 0, e, 0), expected_lr, lrs)
    _, grads, lr_grads = hypergradients(
        net_loss, params, lrs, pieces, meta_batch, order="first", **reading
    )
    assert_close(grads, expected, 1e-12)
    assert_close(lr_grads, expected_lr, 1e-12)


def test_the_orders_differ_on_a_curved_loss_and_first_is_the_default(problem: Problem) -> None:
    first, second, default = (
        hypergradients(net_loss, *problem, **order)
        for order in ({"order": "first"}, {"order": "second"}, {})
    )
    assert_same_bits(default, first)
    assert_close(first[0], second[0], 1e-12)
    assert differs(first[1], second[1])
    assert differs(first[2], second[2])


@ORDERS
def test_hypergradients_of_a_quadratic(x64: None, order: str) -> None:
    """With l = a theta^2 / 2 and L = b theta^2 / 2, theta_2 = (1 - alpha a_1)(1 - alpha a_0) theta."""

    def loss_fn(params: jax.Array, curvature: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(curvature * params**2)

    theta, alpha = jnp.array([1.0, -2.0]), jnp.array([0.1, 0.4])
    a0, a1, b = jnp.array([0.5, 1.5]), jnp.array([2.0, 0.3]), jnp.array([3.0, 1.0])
    theta_1 = (1 - alpha * a0) * theta
    theta_2 = (1 - alpha * a1) * theta_1
    loss, grad, lr_grad = hypergradients(
        loss_fn, theta, alpha, [a0, a1], b, order=order, meta_loss_at="last"
    )
    assert_close(loss, 0.5 * jnp.sum(b * theta_2**2), 1e-12)
    if order == "first":
        assert_close(grad, b * theta_2, 1e-12)
        assert_close(lr_grad, -b * theta_2 * (a0 * theta + a1 * theta_1), 1e-12)
    else:
        assert_close(grad, b * theta_2 * (1 - alpha * a0) * (1 - alpha * a1), 1e-12)
        moved = a0 * theta * (1 - alpha * a1) + a1 * theta_1
        assert_close(lr_grad, -b * theta_2 * moved, 1e-12)


def test_the_orders_agree_where_the_inner_hessian_is_zero(problem: Problem) -> None:
    params, lrs, _, _ = problem

    def loss_fn(params: Net, batch: tuple[float, float]) -> jax.Array:
        slope, curvature = batch
        flat, _ = ravel_pytree(params)
        return slope * jnp.sum(jnp.cos(jnp.arange(len(flat))) * flat) + curvature * jnp.sum(flat**4)

    pieces, meta_batch = [(1.0, 0.0), (-0.5, 0.0), (2.0, 0.0)], (0.3, 1.0)
    first, second = (
        hypergradients(loss_fn, params, lrs, pieces, meta_batch, order=order)
        for order in ("first", "second")
    )
    assert_close(first, second, 1e-12)


def test_the_meta_loss_is_taken_at_every_step_or_at_the_last(problem: Problem) -> None:
    params, lrs, pieces, meta_batch = problem
    thetas, _ = inner_steps(net_loss, params, lrs, pieces)
    losses = [net_loss(theta, meta_batch) for theta in thetas[1:]]
    every = meta_objective(net_loss, params, lrs, pieces, meta_batch, meta_loss_at="every")
    last = meta_objective(net_loss, params, lrs, pieces, meta_batch, meta_loss_at="last")
    default = meta_objective(net_loss, params, lrs, pieces, meta_batch)
    assert_close(every, np.mean(losses), 1e-12)
    assert_close(last, losses[-1], 1e-12)
    assert_same_bits(default, every)


@ORDERS
def test_a_scalar_rate_is_the_same_rate_everywhere(problem: Problem, order: str) -> None:
    params, _, pieces, meta_batch = problem
    lrs = jax.tree.map(lambda p: jnp.full_like(p, 0.1), params)
    scalar = hypergradients(net_loss, params, 0.1, pieces, meta_batch, order=order)
    full = hypergradients(net_loss, params, lrs, pieces, meta_batch, order=order)
    assert_close(scalar[:2], full[:2], 1e-12)
    assert_close(scalar[2], sum(jnp.sum(g) for g in jax.tree.leaves(full[2])), 1e-12)


@ORDERS
def test_with_rates_of_zero_nothing_moves(problem: Problem, order: str) -> None:
    params, lrs, pieces, meta_batch = problem
    zero = jax.tree.map(jnp.zeros_like, lrs)
    grads = jax.grad(net_loss)(params, meta_batch)
    for theta in lookahead(net_loss, params, zero, pieces, order=order):
        assert_same_bits(theta, params)
    assert_same_bits(modulated_step(params, zero, grads), params)
    assert_same_bits(descend(params, zero, grads), params)
    _, meta_grads, _ = hypergradients(net_loss, params, zero, pieces, meta_batch, order=order)
    assert_close(meta_grads, grads, 1e-12)


def test_a_rate_below_zero_moves_nothing_where_it_is_rectified(x64: None) -> None:
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}
    lrs = {"a": jnp.array([-0.1, 0.1]), "b": jnp.array(-0.2)}
    grads = {"a": jnp.array([10.0, 10.0]), "b": jnp.array(10.0)}
    rectified = {"a": jnp.array([1.0, 1.0]), "b": jnp.array(3.0)}
    plain = {"a": jnp.array([2.0, 1.0]), "b": jnp.array(5.0)}
    assert_close(modulated_step(params, lrs, grads), rectified, 1e-12)
    assert_close(descend(params, lrs, grads), plain, 1e-12)

    def linear(params: Any, slope: Any) -> jax.Array:
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, slope, params)))

    assert_close(lookahead(linear, params, lrs, [grads], inner_lr_relu=True)[0], rectified, 1e-12)
    assert_close(lookahead(linear, params, lrs, [grads], inner_lr_relu=False)[0], plain, 1e-12)
    assert_close(lookahead(linear, params, lrs, [grads])[0], plain, 1e-12)


def test_looking_ahead_rewards_aligned_gradients_to_second_order_in_the_rate(
    problem: Problem,
) -> None:
    """Appendix B: for K = 1, grad L(theta - alpha grad l) = grad (L - alpha grad L . grad l) + O(alpha^2)."""
    params, _, (piece, *_), meta_batch = problem

    def aligned(params: Net, rate: float) -> jax.Array:
        old, _ = ravel_pytree(jax.grad(net_loss)(params, meta_batch))
        new, _ = ravel_pytree(jax.grad(net_loss)(params, piece))
        return net_loss(params, meta_batch) - rate * jnp.vdot(old, new)

    def difference(rate: float) -> float:
        _, grads, _ = hypergradients(net_loss, params, rate, [piece], meta_batch, order="second")
        gap = jax.tree.map(jnp.subtract, grads, jax.grad(aligned)(params, rate))
        return float(jnp.linalg.norm(ravel_pytree(gap)[0]))

    gaps = [difference(rate) for rate in (0.04, 0.02, 0.01)]
    assert gaps[0] > 1e-6
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.05)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.05)


@ORDERS
def test_any_pytree_and_a_hand_written_loss_work_in_double_precision(
    problem: Problem, order: str
) -> None:
    loss, grads, lr_grads = jax.jit(
        lambda params, lrs: hypergradients(net_loss, params, lrs, *problem[2:], order=order)
    )(problem.params, problem.lrs)
    chex.assert_trees_all_equal_shapes_and_dtypes(grads, problem.params)
    chex.assert_trees_all_equal_shapes_and_dtypes(lr_grads, problem.lrs)
    assert loss.dtype == jnp.float64
    chex.assert_tree_all_finite((loss, grads, lr_grads))


@pytest.mark.parametrize("name", ["order", "meta_loss_at"])
def test_an_unknown_choice_gets_one_sentence(name: str) -> None:
    arguments = jnp.vdot, jnp.zeros(2), 1.0, [jnp.ones(2)], jnp.ones(2)
    for function in (meta_objective, hypergradients):
        with pytest.raises(ValueError, match=f"^{name} is 'First'; it must be one of '"):
            function(*arguments, **{name: "First"})
    with pytest.raises(ValueError, match="^order is 'First'; it must be one of 'first', 'second'"):
        lookahead(*arguments[:4], order="First")


def test_pieces_that_hold_nothing_do_not_count() -> None:
    pieces = [jnp.ones(2), jnp.zeros(2)]
    is_filled = jnp.array([True, False])
    found = hypergradients(jnp.vdot, jnp.ones(2), 0.1, pieces, jnp.ones(2), is_filled=is_filled)
    assert_close(found, hypergradients(jnp.vdot, jnp.ones(2), 0.1, pieces[:1], jnp.ones(2)), 1e-6)
