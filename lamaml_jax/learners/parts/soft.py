"""The soft weights of a basis: what of each direction is closed to new tasks, and how that is learnt.

Dimensions: L layers with a basis, k directions of one.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from lamaml_jax import checks
from lamaml_jax.learners.parts.bases import Bases, Weights
from lamaml_jax.learners.parts.optimizer import make_descent
from lamaml_jax.updates import clip_by_global_norm

Soft: TypeAlias = Literal["released", "learnt", "off"]


class SoftState(NamedTuple):
    """Soft weights while a task is learnt.

    Attributes:
        weights: lambda of each layer, `[k]`; no layer's where all are 1 and stay so.
        opt_state: Their momentum.
        is_fresh: bool scalar, whether they have not been touched since a task's end.
    """

    weights: Weights
    opt_state: optax.OptState
    is_fresh: jax.Array


class SoftWeights(NamedTuple):
    """A rule for soft weights.

    Attributes:
        init: `init(bases) -> state`, with weights of 1, as each task begins.
        step: `step(state, grads, is_used) -> state`, down the gradient of lambda; nothing changes where the bool scalar
            `is_used` is false.
    """

    init: Callable[[Bases], SoftState]
    step: Callable[[SoftState, Weights, jax.Array], SoftState]


def make_soft_weights(
    soft: Soft,
    lr: jax.Array | float,
    momentum: jax.Array | float,
    temperature: jax.Array | float,
    clip_norm: jax.Array | float | None,
) -> SoftWeights:
    """Return the rule that the keyword `soft` names; see `fs_dgpm`, also for the others.

    Raises:
        ValueError: `soft` is not one of its choices.
    """
    checks.choice("soft", soft, Soft)
    descent = make_descent(optax.sgd(lr, momentum=momentum), lr)

    def init(bases: Bases) -> SoftState:
        weights = () if soft == "off" else tuple(jnp.ones(v.shape[1], v.dtype) for v in bases)
        return SoftState(weights, descent.init(weights), jnp.ones((), bool))

    def squashed(weight: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(temperature * weight).astype(weight.dtype)

    def step(state: SoftState, grads: Weights, is_used: jax.Array) -> SoftState:
        if soft == "off":
            return state
        grads, _ = clip_by_global_norm(grads, clip_norm)
        # The authors' optimizer holds the weights of a task's first step alone: each step makes new ones.
        is_learnt = is_used & state.is_fresh if soft == "released" else is_used
        weights, opt_state = descent.step(state.weights, state.opt_state, grads, is_learnt)
        if soft == "learnt":
            weights = tuple(jnp.clip(w, 0, 1) for w in weights)
        else:
            weights = tuple(jnp.where(is_used, squashed(w), w) for w in weights)
        return SoftState(weights, opt_state, state.is_fresh & ~is_used)

    return SoftWeights(init, step)
