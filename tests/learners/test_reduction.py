"""The estimate that VR-MCL makes of a meta-gradient, by hand and in the learners."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, build, make_batch

from lamaml_jax.learners.parts import reduction

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
LEARNERS = ["la_maml", "sync_la_maml", "c_maml"]


def quadratic(example: float) -> Any:
    """Return the hypergradients of a loss whose gradients are `place * example` and twice that."""

    def gradients_at(params: jax.Array, lrs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return jnp.vdot(params, params), params * example, 2 * lrs * example

    return gradients_at


def test_an_estimate_by_hand() -> None:
    places = [(jnp.array([1.0, 2.0]), jnp.array([0.5])), (jnp.array([3.0, -1.0]), jnp.array([0.2]))]
    r, yes = 0.4, jnp.array(True)
    kept = reduction.init(places[0], r)
    (loss, *first), kept = reduction.reduced(kept, quadratic(10.0), places[0], r, yes)
    assert float(loss) == 5
    assert_close(first, [jnp.array([10.0, 20.0]), jnp.array([10.0])])  # nothing came before
    (_, *second), kept = reduction.reduced(kept, quadratic(7.0), places[1], r, yes)
    # 7 * theta_1 + 0.4 * (10 * theta_0 - 7 * theta_0), and for the rates twice as much.
    assert_close(second, [np.array([21.0 + 1.2, -7.0 + 2.4]), np.array([2.8 + 1.2])])
    (_, *none), left = reduction.reduced(kept, quadratic(1.0), places[0], r, jnp.array(False))
    assert_close(none, [np.zeros(2), np.zeros(1)])
    assert_same_bits(left, kept)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_share_of_zero_is_the_gradient_itself(name: str) -> None:
    plain, with_none = build(name), build(name, variance_reduction=0.0)
    state = plain.init(KEY, make_batch(0))
    assert state.reduction == ()
    other = with_none.init(KEY, make_batch(0))
    steps = [jax.jit(learner.update) for learner in (plain, with_none)]
    for step in range(2):
        key, batch = jax.random.fold_in(KEY, step), make_batch(step)
        state, other = steps[0](key, state, batch)[0], steps[1](key, other, batch)[0]
    assert_close(other._replace(reduction=()), state)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_constant_gradient_is_estimated_without_noise(name: str) -> None:
    """At weights that do not move, each estimate is the mean over all glances' gradients with r as their decay."""
    still: dict[str, Any] = {"la_maml": {"lr_init": 0.0, "lr_lr": 0.0}}.get(
        name, {"outer_lr": 0.0, "lr_lr": 0.0} if name == "sync_la_maml" else {"outer_lr": 0.0}
    )
    r = 0.5
    learner = build(name, glances=1, variance_reduction=r, **still)
    single = build(name, glances=1, variance_reduction=0.0, **still)
    state, alone = learner.init(KEY, make_batch(0)), single.init(KEY, make_batch(0))
    update, update_alone = jax.jit(learner.update), jax.jit(single.update)
    previous = None
    for step in range(3):
        key, batch = jax.random.fold_in(KEY, step), make_batch(step)
        state, alone = update(key, state, batch)[0], update_alone(key, alone, batch)[0]
        fresh = alone.reduction.estimate
        wanted = jax.tree.map(lambda g, e: g + r * (e - g), fresh, previous or fresh)
        assert_close(state.reduction.estimate, wanted)
        previous = state.reduction.estimate
