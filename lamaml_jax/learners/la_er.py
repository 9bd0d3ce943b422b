"""La-ER: experience replay with La-MAML's learnable rates, but no meta-learning of the weights.

Dimensions: B batch, K inner steps, M memory slots.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks, replay
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.losses import task_loss, task_predict
from lamaml_jax.pieces import scan_pieces, split
from lamaml_jax.types import (
    Batch,
    Info,
    Learner,
    Model,
    NonNegative,
    Params,
    Positive,
    Setting,
)
from lamaml_jax.updates import Order, clip_by_global_norm, descend, hypergradients, modulated_step


class LaErState(NamedTuple):
    """Weights theta, one learning rate alpha per weight, and the replay memory."""

    params: Params
    lrs: Params
    memory: replay.Memory


@learner_factory
def la_er(
    model: Model,
    setting: Setting,
    *,
    lr_init: NonNegative = 0.1,
    lr_lr: NonNegative = 0.1,
    inner_steps: int = 10,
    glances: int = 1,
    memory: int = 200,
    replay_batch: int = 10,
    order: Order = "first",
    clip_norm: Positive | None = 2.0,
    inner_lr_relu: bool = True,
    inner_clip: Positive | None = None,
    replacement: bool = True,
    age_inclusive: bool = True,
    shuffle_glances: bool = True,
    draw: replay.Draw | None = None,
) -> Learner:
    """Return La-ER: per-weight rates learnt by hypergradient, which make the steps of experience replay.

    In each glance, with b_m the replayed and incoming examples and theta_K the weights after K inner steps from theta
    on pieces of the incoming ones: alpha <- alpha - eta * dL(theta_K, b_m)/dalpha, then
    theta <- theta - max(0, alpha) * dL(theta, b_m)/dtheta with the updated alpha. With eta = 0 this is `er`, to which
    the same key gives the same draws.

    Args:
        model: The network.
        setting: The stream's static facts.
        lr_init: alpha_0, the initial rate of every weight.
        lr_lr: eta, the learning rate of the rates.
        inner_steps: K, the pieces of ceil(B / K) examples that the incoming batch is cut into; in [1, B].
        glances: Steps on the same incoming batch, each with its own draw, >= 1. The batch enters the reservoir after
            its last glance, in every epoch.
        memory: M, slots of the reservoir, >= 1.
        replay_batch: Examples replayed in each step, >= 0.
        order: "first" treats the inner gradients as constants; "second" differentiates through them.
        clip_norm: Clip the gradient and the hypergradient separately to this global norm; None does not clip.
        inner_lr_relu: Whether inner steps use max(0, alpha) (released on MNIST) or alpha.
        inner_clip: Clip inner gradients elementwise to +-this; None does not clip.
        replacement: Whether one step may replay an example twice (released) or not (text).
        age_inclusive: The released reservoir's rule, a hair under uniform; False is uniform (text).
        shuffle_glances: Whether every glance reshuffles the incoming batch (released).
        draw: Replaces the draw of a glance: `draw(key, memory, batch) -> (incoming, replayed)`.

    Returns:
        The learner; its state is a `LaErState`, its info, of the last glance, `loss` at theta, `gradient_norm`
        and `lr_gradient_norm` (norms before clipping).

    Raises:
        ValueError: A static argument is out of its range.

    Reference:
        Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, la_er, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> la_er(networks.mlp(10), setting, lr_init=0.03).needs
        frozenset()
    """
    checks.pieces("inner_steps", inner_steps, setting.batch_size)
    checks.integer("glances", glances, 1)
    checks.integer("memory", memory, 1)
    checks.integer("replay_batch", replay_batch, 0, None if replacement else memory)
    checks.choice("order", order, Order)
    loss_fn = task_loss(model.apply, setting)
    draw = draw or functools.partial(
        replay.draw, size=replay_batch, replacement=replacement, shuffle=shuffle_glances
    )

    def init(key: chex.PRNGKey, example: Batch) -> LaErState:
        params = model.init(key, example.x)
        lrs = jax.tree.map(lambda p: jnp.full_like(p, lr_init), params)
        return LaErState(params, lrs, replay.init(example, memory))

    def use(key: chex.PRNGKey, state: LaErState, batch: Batch) -> tuple[LaErState, Info]:
        keys = jax.random.split(key, 1 + glances)

        def glance(state: LaErState, key: chex.PRNGKey) -> tuple[LaErState, Info]:
            incoming, replayed = draw(key, state.memory, batch)
            joint = replay.join(replayed, incoming)
            _, _, lr_grads = hypergradients(
                loss_fn,
                state.params,
                state.lrs,
                split(incoming, inner_steps),
                joint,
                order=order,
                meta_loss_at="last",
                inner_lr_relu=inner_lr_relu,
                inner_clip=inner_clip,
            )
            lr_grads, lr_norm = clip_by_global_norm(lr_grads, clip_norm)
            lrs = descend(state.lrs, lr_lr, lr_grads)
            loss, grads = jax.value_and_grad(loss_fn)(state.params, joint)
            grads, norm = clip_by_global_norm(grads, clip_norm)
            params = modulated_step(state.params, lrs, grads)
            info = {"loss": loss, "gradient_norm": norm, "lr_gradient_norm": lr_norm}
            return state._replace(params=params, lrs=lrs), info

        state, infos = jax.lax.scan(glance, state, keys[1:])
        memory = replay.after(state.memory, state.params)
        kept = replay.add_reservoir(keys[0], memory, batch, age_inclusive=age_inclusive)
        return state._replace(memory=kept), jax.tree.map(lambda values: values[-1], infos)

    def update(key: chex.PRNGKey, state: LaErState, batch: Batch) -> tuple[LaErState, Info]:
        # The whole batch is one piece, for which `er` derives the same keys.
        return scan_pieces(use, key, state, batch, setting.batch_size)

    return Learner(init, update, task_predict(model.apply, setting.class_mask))
