"""Experience replay: SGD on incoming and replayed examples together (Chaudhry et al. 2019).

Dimensions: B batch, M memory slots.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from lamaml_jax import checks, replay
from lamaml_jax.learners.parts.distillation import (
    distilled_loss,
    empty_memory,
    require_logits,
    with_logits,
)
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.optimizer import Optimizer, make_descent
from lamaml_jax.losses import task_predict
from lamaml_jax.pieces import scan_pieces
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
from lamaml_jax.updates import clip_by_global_norm


class ErState(NamedTuple):
    """Weights, the replay memory, and the optimizer's state, which plain SGD has not."""

    params: Params
    memory: replay.Memory
    opt_state: optax.OptState = ()


@learner_factory
def er(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.1,
    optimizer: Optimizer = "sgd",
    glances: int = 1,
    memory: int = 200,
    replay_batch: int = 10,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
    replacement: bool = True,
    age_inclusive: bool = True,
    shuffle_glances: bool = True,
    draw: replay.Draw | None = None,
    distill: Positive | None = None,
) -> Learner:
    """Return experience replay: theta <- theta - lr * grad L(theta, replayed and incoming examples).

    Args:
        model: The network.
        setting: The stream's static facts.
        lr: Learning rate.
        optimizer: "sgd", "adam", or an optax transformation such as `optax.sgd(0.03, momentum=0.9)`, whose own learning
            rate then stands in place of `lr`.
        glances: Steps on the same incoming examples, each with its own draw, >= 1.
        memory: M, slots of the reservoir, >= 1.
        replay_batch: Examples replayed in each step, >= 0; 0 is plain SGD.
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
            Examples enter the reservoir after their last glance, in every epoch, before the next ones are used.
        clip_norm: Clip gradients to this global norm; None does not clip.
        replacement: Whether one step may replay an example twice.
        age_inclusive: The released reservoir's rule, a hair under uniform; False is uniform.
        shuffle_glances: Whether every glance reshuffles the incoming examples.
        draw: Replaces the draw of a glance: `draw(key, memory, batch) -> (incoming, replayed)`, the latter with the
            memory's `logits` where there is `distill`.
        distill: Weight of the mean squared distance from the network's logits of replayed examples to those that it
            gave when they entered the memory, which keeps them: DER++ (Buzzega et al. 2020); None keeps none.

    Returns:
        The learner; its state is an `ErState`, its info `loss` and `gradient_norm`.

    Raises:
        ValueError: A static argument is out of its range.

    Reference: Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", arXiv:1902.10486, 2019.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, er, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> er(networks.mlp(10), setting, lr=0.03, examples_per_step=1).needs
        frozenset()
    """
    checks.integer("glances", glances, 1)
    checks.integer("memory", memory, 1)
    checks.integer("replay_batch", replay_batch, 0, None if replacement else memory)
    examples_per_step = checks.step_size(examples_per_step, setting.batch_size)
    loss_fn = distilled_loss(model.apply, setting, distill)
    draw = draw or functools.partial(
        replay.draw, size=replay_batch, replacement=replacement, shuffle=shuffle_glances
    )

    descent = make_descent(optimizer, lr)

    def init(key: chex.PRNGKey, example: Batch) -> ErState:
        params = model.init(key, example.x)
        kept = empty_memory(model.apply, params, example, memory, distill)
        return ErState(params, kept, descent.init(params))

    def use(key: chex.PRNGKey, state: ErState, piece: Batch) -> tuple[ErState, Info]:
        keys = jax.random.split(key, 1 + glances)

        def glance(
            carry: tuple[Params, optax.OptState], key: chex.PRNGKey
        ) -> tuple[tuple[Params, optax.OptState], Info]:
            incoming, replayed = draw(key, state.memory, piece)
            require_logits(replayed, distill)
            loss, grads = jax.value_and_grad(loss_fn)(carry[0], replay.join(replayed, incoming))
            grads, norm = clip_by_global_norm(grads, clip_norm)
            carry = descent.step(*carry, grads, piece.valid.any())
            return carry, {"loss": loss, "gradient_norm": norm}

        (params, opt_state), infos = jax.lax.scan(glance, (state.params, state.opt_state), keys[1:])
        memory = replay.after(state.memory, params)
        offered = with_logits(model.apply, params, piece, distill)
        kept = replay.add_reservoir(keys[0], memory, offered, age_inclusive=age_inclusive)
        return ErState(params, kept, opt_state), jax.tree.map(jnp.mean, infos)

    def update(key: chex.PRNGKey, state: ErState, batch: Batch) -> tuple[ErState, Info]:
        return scan_pieces(use, key, state, batch, examples_per_step)

    return Learner(init, update, task_predict(model.apply, setting.class_mask))
