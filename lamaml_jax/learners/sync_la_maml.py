"""Sync La-MAML: look-ahead with one learnable rate per weight, and an outer step with a scalar rate.

Dimensions: B batch, K inner steps, M memory slots.
"""

from typing import NamedTuple

import chex
import jax
import optax

from lamaml_jax import replay
from lamaml_jax.learners.parts.bases import Bases
from lamaml_jax.learners.parts.distillation import empty_memory
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.gradient_projection import make_projector
from lamaml_jax.learners.parts.look_ahead import PushEpochs, look_ahead_learner
from lamaml_jax.learners.parts.optimizer import Optimizer, make_descent
from lamaml_jax.learners.parts.reduction import ReductionState
from lamaml_jax.types import Batch, Learner, Model, NonNegative, Params, Positive, Setting
from lamaml_jax.updates import MetaLossAt, Order, descend


class SyncLaMamlState(NamedTuple):
    """As La-MAML's, and the outer optimizer's state, which plain SGD has not."""

    params: Params
    lrs: Params
    memory: replay.Memory
    opt_state: optax.OptState = ()
    reduction: ReductionState = ()
    bases: Bases = ()


@learner_factory
def sync_la_maml(
    model: Model,
    setting: Setting,
    *,
    lr_init: NonNegative = 0.15,
    lr_lr: NonNegative = 0.1,
    outer_lr: NonNegative = 0.3,
    optimizer: Optimizer = "sgd",
    inner_steps: int = 10,
    glances: int = 5,
    memory: int = 200,
    replay_batch: int = 10,
    order: Order = "first",
    clip_norm: Positive | None = 2.0,
    meta_loss_at: MetaLossAt = "every",
    inner_lr_relu: bool = True,
    inner_clip: Positive | None = None,
    inner_clip_norm: Positive | None = None,
    replacement: bool = True,
    age_inclusive: bool = True,
    push_epochs: PushEpochs = "first",
    shuffle_glances: bool = True,
    gradient_projection: Positive | None = None,
    projection_directions: int = 30,
    draw: replay.Draw | None = None,
    distill: Positive | None = None,
    variance_reduction: NonNegative | None = None,
) -> Learner:
    """Return Sync La-MAML: rates learnt by hypergradient, weights moved with a scalar rate.

    alpha <- alpha - eta * dL/dalpha and theta <- theta - beta * dL/dtheta, both gradients at the old values.

    Args:
        model: The network.
        setting: The stream's static facts.
        lr_init: alpha_0, the initial inner rate of every weight.
        lr_lr: eta, the learning rate of the rates.
        outer_lr: beta, the outer learning rate.
        optimizer: Of the weights' outer step: "sgd", "adam", or an optax transformation, whose own learning rate then
            stands in place of `outer_lr`.
        inner_steps: As in `la_maml`, like all that follow.
        glances: See `la_maml`.
        memory: See `la_maml`.
        replay_batch: See `la_maml`.
        order: See `la_maml`.
        clip_norm: See `la_maml`.
        meta_loss_at: See `la_maml`.
        inner_lr_relu: See `la_maml`.
        inner_clip: See `la_maml`.
        inner_clip_norm: See `la_maml`.
        replacement: See `la_maml`.
        age_inclusive: See `la_maml`.
        push_epochs: See `la_maml`.
        shuffle_glances: See `la_maml`.
        gradient_projection: See `la_maml`.
        projection_directions: See `la_maml`.
        draw: See `la_maml`.
        distill: See `la_maml`.
        variance_reduction: See `la_maml`.

    Returns:
        The learner; its state is a `SyncLaMamlState`.

    Raises:
        ValueError: A static argument is out of its range.

    Reference: Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, networks, sync_la_maml
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> sync_la_maml(networks.mlp(10), setting, outer_lr=0.1).needs
        frozenset()
    """
    descent = make_descent(optimizer, outer_lr)
    projector = make_projector(model, setting, gradient_projection, projection_directions)

    def init(key: chex.PRNGKey, example: Batch) -> SyncLaMamlState:
        params = model.init(key, example.x)
        rates = optax.tree.full_like(params, lr_init)
        kept = empty_memory(model.apply, params, example, memory, distill)
        directions = projector.init(params, kept)
        return SyncLaMamlState(params, rates, kept, descent.init(params), bases=directions)

    def outer_step(
        state: SyncLaMamlState, grads: Params, lr_grads: Params, has_examples: jax.Array
    ) -> SyncLaMamlState:
        grads = projector.outside(state.bases, grads)
        params, opt_state = descent.step(state.params, state.opt_state, grads, has_examples)
        lrs = descend(state.lrs, lr_lr, lr_grads)
        return state._replace(params=params, lrs=lrs, opt_state=opt_state)

    learner = look_ahead_learner(
        model,
        setting,
        init,
        lambda state: state.lrs,
        outer_step,
        inner_steps=inner_steps,
        glances=glances,
        memory=memory,
        replay_batch=replay_batch,
        order=order,
        clip_norm=clip_norm,
        meta_loss_at=meta_loss_at,
        inner_lr_relu=inner_lr_relu,
        inner_clip=inner_clip,
        inner_clip_norm=inner_clip_norm,
        replacement=replacement,
        age_inclusive=age_inclusive,
        push_epochs=push_epochs,
        shuffle_glances=shuffle_glances,
        draw=draw,
        distill=distill,
        variance_reduction=variance_reduction,
    )
    return projector.renewing(learner)
