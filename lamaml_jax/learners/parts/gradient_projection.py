"""The projected outer step of the look-ahead learners: smaller along what old inputs have in common.

Dimensions: M memory slots, N rows, D inputs of a layer, k directions.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks, replay
from lamaml_jax.learners.parts import bases
from lamaml_jax.types import Batch, Learner, Model, Params, Positive, Setting, State


class Projector(NamedTuple):
    """A rule for the outer step's gradient.

    Attributes:
        init: `init(params, memory) -> bases`, without a direction; `()` where nothing is projected.
        outside: `outside(bases, grads) -> grads`, the gradient that the outer step takes.
        renewing: `renewing(learner) -> learner`, which makes its state's `bases` anew at each task's end.
    """

    init: Callable[[Params, replay.Memory], bases.Bases]
    outside: Callable[[bases.Bases, Params], Params]
    renewing: Callable[[Learner], Learner]


def make_projector(
    model: Model,
    setting: Setting,
    gradient_projection: Positive | None,
    projection_directions: int,
) -> Projector:
    """Return the rule that the keywords of `la_maml` describe.

    The outer step takes G - P G in place of a kernel's meta-gradient G, with P = C (C + tau e_1 I)^-1, C = X'X of
    what the layer gets of the remembered examples, X `[N, D]`, and e_1 C's largest eigenvalue. So a step along a
    direction of energy e is shortened by the factor tau e_1 / (e + tau e_1): to tau / (1 + tau) where old inputs have
    most in common, and not at all where they have nothing. With tau towards 0 that is GPM's projection, which
    closes all of a basis; with tau fixed it is the regularised projector of orthogonal weights modification, from the
    memory instead of from a running sum.

    Args:
        model: A network with `kernels` and `layer_inputs`, where there is a projection.
        setting: The stream's static facts.
        gradient_projection: tau; None projects nothing.
        projection_directions: The most directions of a layer; others count as without energy.

    Returns:
        The rule; one that changes nothing where tau is None.

    Raises:
        ValueError: An argument is out of its range, or the model does not offer its layers' inputs.

    Reference:
        Saha, Garg and Roy, "Gradient Projection Memory for Continual Learning", ICLR 2021; Zeng, Chen, Cui and Yu,
        "Continual Learning of Context-dependent Processing in Neural Networks", 2019.
    """
    checks.integer("projection_directions", projection_directions, 1)
    if gradient_projection is None:
        return Projector(
            lambda params, memory: (),
            lambda directions, grads: grads,
            lambda learner: learner,
        )
    kernels, inputs_of = bases.layers_of(model, setting, "gradient_projection")

    def init(params: Params, memory: replay.Memory) -> bases.Bases:
        empty = bases.init(params, kernels, jax.eval_shape(inputs_of, params, memory.x))
        return tuple(v[:, :projection_directions] for v in empty)

    def outside(directions: bases.Bases, grads: Params) -> Params:
        return bases.outside(grads, kernels, directions, ())

    def end_task(key: chex.PRNGKey, state: State, data: Batch | None) -> State:
        is_filled = jnp.arange(len(state.memory.y)) < state.memory.seen
        directions = tuple(
            bases.ridge_directions(
                bases.without_padding(rows, is_filled), gradient_projection, projection_directions
            )
            for rows in inputs_of(state.params, state.memory.x)
        )
        return state._replace(bases=directions)

    return Projector(init, outside, lambda learner: learner._replace(end_task=end_task))
