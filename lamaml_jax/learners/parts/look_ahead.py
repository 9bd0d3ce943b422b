"""What the look-ahead learners share: glances of K inner steps, a meta-gradient and an outer step, with replay.

The factories repeat these keywords, which pass through them: a signature is what completion, `--set` and a reader see
of a method, and a shared tuple of settings would change the call.

Dimensions: B batch, K inner steps.
"""

import functools
from collections.abc import Callable
from typing import Literal, TypeAlias

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks, replay
from lamaml_jax.learners.parts import reduction
from lamaml_jax.learners.parts.distillation import distilled_loss, require_logits, with_logits
from lamaml_jax.losses import task_predict
from lamaml_jax.pieces import filled_pieces, split
from lamaml_jax.types import (
    Batch,
    Info,
    Learner,
    Model,
    NonNegative,
    Params,
    Positive,
    Setting,
    State,
)
from lamaml_jax.updates import MetaLossAt, Order, Rates, clip_by_global_norm, hypergradients

PushEpochs: TypeAlias = Literal["first", "every"]


def look_ahead_learner(
    model: Model,
    setting: Setting,
    init: Callable[[chex.PRNGKey, Batch], State],
    rates_of: Callable[[State], Rates],
    outer_step: Callable[[State, Params, Params, jax.Array], State],
    *,
    inner_steps: int,
    glances: int,
    memory: int,
    replay_batch: int,
    order: Order,
    clip_norm: Positive | None,
    meta_loss_at: MetaLossAt,
    inner_lr_relu: bool,
    inner_clip: Positive | None,
    inner_clip_norm: Positive | None,
    replacement: bool,
    age_inclusive: bool,
    push_epochs: PushEpochs,
    shuffle_glances: bool,
    draw: replay.Draw | None,
    distill: Positive | None,
    variance_reduction: NonNegative | None,
) -> Learner:
    """Return a learner that looks ahead from its weights on every incoming batch.

    Args:
        model: The network.
        setting: The stream's static facts.
        init: `init(key, example) -> state`, a NamedTuple with `params`, `memory` and `reduction`.
        rates_of: The inner learning rates of a state.
        outer_step: `outer_step(state, grads, lr_grads, has_examples) -> state`, with the clipped meta-gradients, which
            are zero where the bool scalar `has_examples` is false.
        inner_steps: See `la_maml`, like all that follow.
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
        draw: See `la_maml`.
        distill: See `la_maml`.
        variance_reduction: See `la_maml`.

    Returns:
        The learner; its info is `loss`, `gradient_norm` and, where the state has `lrs`, `lr_gradient_norm`.

    Raises:
        ValueError: A static argument is out of its range.
    """
    checks.pieces("inner_steps", inner_steps, setting.batch_size)
    checks.integer("glances", glances, 1)
    checks.integer("memory", memory, 1)
    checks.integer("replay_batch", replay_batch, 1, None if replacement else memory)
    checks.choice("order", order, Order)
    checks.choice("meta_loss_at", meta_loss_at, MetaLossAt)
    checks.choice("push_epochs", push_epochs, PushEpochs)
    loss_fn = distilled_loss(model.apply, setting, distill)
    draw = draw or functools.partial(
        replay.draw, size=replay_batch, replacement=replacement, shuffle=shuffle_glances
    )

    def init_all(key: chex.PRNGKey, example: Batch) -> State:
        state = init(key, example)
        place = (state.params, rates_of(state))
        return state._replace(reduction=reduction.init(place, variance_reduction))

    def update(key: chex.PRNGKey, state: State, batch: Batch) -> tuple[State, Info]:
        keys = jax.vmap(jax.random.split)(jax.random.split(key, glances))
        key_draws, key_push = keys[:, 0], keys[0, 1]
        is_new = batch.valid & (True if push_epochs == "every" else batch.first_epoch)
        # What is drawn stays outside the loop over glances, which would copy the memory for each of them.
        first = draw(key_draws[0], state.memory, batch)
        require_logits(first[1], distill)
        offered = with_logits(model.apply, state.params, batch, distill)
        kept = replay.add_reservoir(
            key_push,
            replay.after(state.memory, first[1]),
            offered._replace(valid=is_new),
            age_inclusive=age_inclusive,
        )
        later = jax.lax.map(lambda key: draw(key, kept, batch), key_draws[1:])
        drawn = jax.tree.map(
            lambda one, others: jnp.concatenate([jnp.asarray(one)[None], others]), first, later
        )

        def glance(state: State, drawn: tuple[Batch, Batch]) -> tuple[State, Info]:
            incoming, replayed = drawn
            pieces = split(incoming, inner_steps)
            meta_batch = replay.join(replayed, incoming)
            gradients_at = functools.partial(
                hypergradients,
                loss_fn,
                pieces=pieces,
                meta_batch=meta_batch,
                order=order,
                meta_loss_at=meta_loss_at,
                inner_lr_relu=inner_lr_relu,
                inner_clip=inner_clip,
                inner_clip_norm=inner_clip_norm,
                is_filled=filled_pieces(pieces),
            )
            (loss, grads, lr_grads), reduction_state = reduction.reduced(
                state.reduction,
                gradients_at,
                (state.params, rates_of(state)),
                variance_reduction,
                batch.valid.any(),
            )
            state = state._replace(reduction=reduction_state)
            grads, norm = clip_by_global_norm(grads, clip_norm)
            lr_grads, lr_norm = clip_by_global_norm(lr_grads, clip_norm)
            info = {"loss": loss, "gradient_norm": norm}
            if hasattr(state, "lrs"):
                info["lr_gradient_norm"] = lr_norm
            return outer_step(state, grads, lr_grads, batch.valid.any()), info

        state, infos = jax.lax.scan(glance, state._replace(memory=kept), drawn)
        return state, jax.tree.map(lambda values: values[-1], infos)

    return Learner(init_all, update, task_predict(model.apply, setting.class_mask))
