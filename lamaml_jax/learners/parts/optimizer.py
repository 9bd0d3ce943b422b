"""How a learner turns the gradient of its weights into a step: plain SGD, Adam, or any optax transformation."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from lamaml_jax.types import Params
from lamaml_jax.updates import descend

Optimizer: TypeAlias = Literal["sgd", "adam"] | optax.GradientTransformation


class Descent(NamedTuple):
    """A rule for steps, with a state.

    Attributes:
        init: `init(params) -> opt_state`.
        step: `step(params, opt_state, grads, has_examples) -> (params, opt_state)`. Nothing moves where the bool scalar
            `has_examples` says that the gradient, zero then, is of no example: momentum would go on.
    """

    init: Callable[[Params], optax.OptState]
    step: Callable[[Params, optax.OptState, Params, jax.Array], tuple[Params, optax.OptState]]


def make_descent(optimizer: Optimizer, lr: jax.Array | float) -> Descent:
    """Return the rule that a learner's keyword `optimizer` names.

    Args:
        optimizer: "sgd" is theta - lr * gradient, without a state; "adam" is optax's with the learning rate `lr`. An
            optax transformation is used as it is, its own learning rate in place of `lr`.
        lr: The learning rate, which may be traced.

    Raises:
        ValueError: `optimizer` is something else.
    """
    if optimizer == "sgd":
        return Descent(
            lambda params: (), lambda p, state, g, has_examples: (descend(p, lr, g), state)
        )
    if optimizer == "adam":
        optimizer = optax.adam(lr)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ValueError(
            f"optimizer is {optimizer!r}; it must be one of 'sgd' and 'adam', or an optax transformation."
        )
    transformation = optimizer

    def step(
        params: Params, opt_state: optax.OptState, grads: Params, has_examples: jax.Array
    ) -> tuple[Params, optax.OptState]:
        updates, stepped = transformation.update(grads, opt_state, params)
        moved = optax.apply_updates(params, updates), stepped
        # A traced rate of more bits would widen what it is multiplied with.
        return jax.tree.map(
            lambda new, old: jnp.where(has_examples, new, old).astype(jnp.result_type(old)),
            moved,
            (params, opt_state),
        )

    return Descent(transformation.init, step)
