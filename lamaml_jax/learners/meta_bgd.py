"""Meta-BGD: C-MAML whose outer step is that of Bayesian gradient descent (Gupta, Yadav and Paull 2020).

Prediction is at the mean.

Dimensions: B batch, K inner steps, M memory slots.
"""

import functools
from typing import NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import optax

from lamaml_jax import checks, replay
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.look_ahead import PushEpochs
from lamaml_jax.learners.parts.posterior import Noise, posterior_step, summed_gradient
from lamaml_jax.losses import task_loss, task_scores
from lamaml_jax.pieces import filled_pieces, split
from lamaml_jax.types import Batch, Info, Learner, Model, NonNegative, Params, Positive, Setting
from lamaml_jax.updates import MetaLossAt, Order, meta_objective

_Pair: TypeAlias = tuple[Params, Params | None]
"""Of the weights, and of their rates if those are learnt."""


class MetaBgdState(NamedTuple):
    """Mean and standard deviation of every weight, the replay memory, and the same of every rate if they are learnt."""

    mean: Params
    std: Params
    memory: replay.Memory
    lrs: Params | None = None
    lrs_std: Params | None = None


@learner_factory
def meta_bgd(
    model: Model,
    setting: Setting,
    *,
    mean_eta: NonNegative = 50.0,
    std_init: Positive = 0.02,
    mc_samples: int = 2,
    inner_lr: NonNegative = 0.1,
    inner_steps: int = 3,
    glances: int = 3,
    memory: int = 200,
    replay_batch: int = 10,
    order: Order = "first",
    clip_norm: Positive | None = 2.0,
    meta_loss_at: MetaLossAt = "every",
    inner_lr_relu: bool = True,
    inner_clip: Positive | None = None,
    replacement: bool = True,
    age_inclusive: bool = True,
    push_epochs: PushEpochs = "first",
    shuffle_glances: bool = True,
    redraw_per_sample: bool = True,
    learn_inner_lr: bool = False,
    draw: replay.Draw | None = None,
    noise: Noise | None = None,
) -> Learner:
    """Return Meta-BGD: C-MAML whose outer step is Bayesian gradient descent's.

    Mean and std step as in `bgd`, with g the gradient of C-MAML's meta-objective at theta = mean + std * eps, clipped,
    times the number of incoming examples (the replayed ones do not count). The rate of the inner steps is one constant,
    as in the paper's text; the released code hands one rate per weight to Bayesian gradient descent, so that they are
    randomised and learnt like the weights.

    Args:
        model: The network; the mean starts at `model.init` (for which the paper takes Xavier's initialiser).
        setting: The stream's static facts.
        mean_eta: See `bgd`.
        std_init: See `bgd`.
        mc_samples: m, the samples of the weights in each meta-update, >= 1.
        inner_lr: alpha, the rate of the inner steps.
        inner_steps: K, the pieces of ceil(B / K) examples that the incoming batch is cut into; in [1, B].
        glances: Meta-updates per incoming batch, >= 1.
        memory: M, slots of the replay memory, >= 1.
        replay_batch: Examples replayed in each meta-batch, >= 1.
        order: "first" treats the inner gradients as constants; "second" differentiates through them (released).
        clip_norm: Clip each sample's meta-gradient in the weights to this global norm; None does not clip.
        meta_loss_at: "every" averages the meta-loss over theta_1..theta_K (released); "last" is theta_K's (text).
        inner_lr_relu: Whether inner steps use max(0, alpha), which says nothing of an alpha >= 0.
        inner_clip: Clip inner gradients elementwise to +-this; None does not clip.
        replacement: Whether one meta-batch may replay an example twice (released) or not (text).
        age_inclusive: The released reservoir's rule, a hair under uniform; False is uniform (text).
        push_epochs: Whether examples enter the memory in their "first" epoch only (released) or in "every" one
            (text). They enter once per batch, after the first glance's draws (released: of its first sample).
        shuffle_glances: Whether every draw reshuffles the incoming batch (released).
        redraw_per_sample: Whether every Monte Carlo sample has a draw of its own (released), or a glance one for all.
        learn_inner_lr: Whether every weight has a rate of its own, which starts at a mean of `inner_lr` and a standard
            deviation of `std_init`, is sampled and stepped with the weights but never clipped (released), or
            `inner_lr` is the constant rate of all (text).
        draw: Replaces the draws: `draw(key, memory, batch) -> (incoming, replayed)`.
        noise: See `bgd`; if rates are learnt, for the pair of weights and rates.

    Returns:
        The learner; its state is a `MetaBgdState`, its info that of `bgd` with the meta-loss, of the last glance.

    Raises:
        ValueError: A static argument is out of its range.

    Reference: Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, meta_bgd, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> meta_bgd(networks.mlp(10), setting, mean_eta=30.0, order="second").needs
        frozenset()
    """
    checks.integer("mc_samples", mc_samples, 1)
    checks.pieces("inner_steps", inner_steps, setting.batch_size)
    checks.integer("glances", glances, 1)
    checks.integer("memory", memory, 1)
    checks.integer("replay_batch", replay_batch, 1, None if replacement else memory)
    checks.choice("order", order, Order)
    checks.choice("meta_loss_at", meta_loss_at, MetaLossAt)
    checks.choice("push_epochs", push_epochs, PushEpochs)
    draw = draw or functools.partial(
        replay.draw, size=replay_batch, replacement=replacement, shuffle=shuffle_glances
    )
    objective = functools.partial(
        meta_objective,
        task_loss(model.apply, setting),
        order=order,
        meta_loss_at=meta_loss_at,
        inner_lr_relu=inner_lr_relu,
        inner_clip=inner_clip,
    )
    noise_of_pair = noise if noise is None or learn_inner_lr else _with_constant_rates(noise)

    def init(key: chex.PRNGKey, example: Batch) -> MetaBgdState:
        mean = model.init(key, example.x)
        std = optax.tree.full_like(mean, std_init)
        state = MetaBgdState(mean, std, replay.init(example, memory))
        if learn_inner_lr:
            # A deviation of its own: a state that holds one buffer twice cannot be donated.
            lrs, lrs_std = (optax.tree.full_like(mean, value) for value in (inner_lr, std_init))
            state = state._replace(lrs=lrs, lrs_std=lrs_std)
        return state

    def update(key: chex.PRNGKey, state: MetaBgdState, batch: Batch) -> tuple[MetaBgdState, Info]:
        is_new = batch.valid & (True if push_epochs == "every" else batch.first_epoch)

        def glance(
            state: MetaBgdState, inputs: tuple[jax.Array, jax.Array]
        ) -> tuple[MetaBgdState, Info]:
            index, key = inputs
            key_draw, key_push, key_step = jax.random.split(key, 3)
            drawn = None if redraw_per_sample else draw(key_draw, state.memory, batch)

            def gradient(key: chex.PRNGKey, sampled: _Pair) -> tuple[_Pair, Info]:
                incoming, replayed = drawn or draw(key, state.memory, batch)
                pieces, meta_batch = split(incoming, inner_steps), replay.join(replayed, incoming)

                def loss_at(sampled: _Pair) -> jax.Array:
                    params, lrs = sampled
                    rates = lrs if learn_inner_lr else inner_lr
                    is_filled = filled_pieces(pieces)
                    return objective(params, rates, pieces, meta_batch, is_filled=is_filled)

                loss, (grads, lr_grads) = jax.value_and_grad(loss_at)(sampled)
                grads, info = summed_gradient(loss, grads, incoming, clip_norm)
                lr_grads, _ = summed_gradient(loss, lr_grads, incoming, None)
                return (grads, lr_grads), info

            mean, std = (state.mean, state.lrs), (state.std, state.lrs_std)
            (mean, lrs), (std, lrs_std), info = posterior_step(
                key_step, mean, std, gradient, mean_eta, mc_samples, noise_of_pair
            )
            offered = batch._replace(valid=is_new & (index == 0))
            memory = replay.after(state.memory, mean)
            kept = replay.add_reservoir(key_push, memory, offered, age_inclusive=age_inclusive)
            return MetaBgdState(mean, std, kept, lrs, lrs_std), info

        keys = jax.random.split(key, glances)
        state, infos = jax.lax.scan(glance, state, (jnp.arange(glances), keys))
        return state, jax.tree.map(lambda values: values[-1], infos)

    def predict(
        state: MetaBgdState, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        return task_scores(model.apply(state.mean, x), setting.class_mask, task)

    return Learner(init, update, predict)


def _with_constant_rates(noise: Noise) -> Noise:
    return lambda key, sample, pair: (noise(key, sample, pair[0]), None)
