"""Meta-gradients whose noise is reduced by what the same examples gave at the weights before: VR-MCL (Wu et al. 2024).

Reference: Wu, Huang, Wang, Wang, Wang, Yang and Liu, "Meta Continual Learning Revisited: Implicitly Enhancing Online
Hessian Approximation via Variance Reduction", ICLR 2024.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from lamaml_jax.types import NonNegative, Params
from lamaml_jax.updates import Rates

Place: TypeAlias = tuple[Params, Rates]
"""Weights and inner rates, at which a hypergradient is taken, or its two parts."""


class Reduction(NamedTuple):
    """What one meta-update leaves to the next.

    Attributes:
        place: Weights and rates before the update.
        estimate: Its two meta-gradients, before clipping.
        has_begun: bool scalar, whether there was an update yet.
    """

    place: Place
    estimate: Place
    has_begun: jax.Array


ReductionState: TypeAlias = Reduction | tuple[()]


def init(place: Place, variance_reduction: NonNegative | None) -> ReductionState:
    """Return what precedes the first update: nothing where `variance_reduction` is None."""
    if variance_reduction is None:
        return ()
    place = jax.tree.map(lambda a: jnp.array(a, jnp.result_type(a, float)), place)  # of its own
    return Reduction(place, jax.tree.map(jnp.zeros_like, place), jnp.zeros((), bool))


def reduced(
    kept: ReductionState,
    gradients_at: Callable[[Params, Rates], tuple[jax.Array, Params, Rates]],
    place: Place,
    variance_reduction: NonNegative | None,
    has_examples: jax.Array,
) -> tuple[tuple[jax.Array, Params, Rates], ReductionState]:
    """Estimate the meta-gradients by g(theta_b; e_b) + r (ghat_{b-1} - g(theta_{b-1}; e_b)), of weights and of rates.

    Args:
        kept: What the update before has left.
        gradients_at: `gradients_at(params, lrs) -> (loss, grads, lr_grads)` on this update's examples, e_b.
        place: theta_b and its rates.
        variance_reduction: r; None is the gradient as it is, and computes no second one.
        has_examples: bool scalar; without an example the estimate is zero, and what is kept stays as it is.

    Returns:
        The meta-loss at `place` with the two estimates, and what the next update is to have.
    """
    loss, *gradients = gradients_at(*place)
    if variance_reduction is None or not isinstance(kept, Reduction):
        return (loss, *gradients), kept
    _, *before = gradients_at(*kept.place)

    def estimated(new: jax.Array, old_estimate: jax.Array, old: jax.Array) -> jax.Array:
        rest = jnp.where(kept.has_begun, variance_reduction * (old_estimate - old), 0)
        return jnp.where(has_examples, new + rest.astype(new.dtype), 0)

    estimate = jax.tree.map(estimated, tuple(gradients), kept.estimate, tuple(before))
    new = Reduction(place, estimate, jnp.ones((), bool))
    new = jax.tree.map(lambda a, b: jnp.where(has_examples, a, b), new, kept)
    return (loss, *estimate), new
