"""Bayesian gradient descent (Zeno et al. 2018): a normal distribution over every weight, by the update of `_posterior`.

Prediction is at the mean.

Dimensions: B batch.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from lamaml_jax import checks
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.posterior import Noise, posterior_step, summed_gradient
from lamaml_jax.losses import task_loss, task_scores
from lamaml_jax.pieces import scan_pieces
from lamaml_jax.types import Batch, Info, Learner, Model, NonNegative, Params, Positive, Setting


class BgdState(NamedTuple):
    """Mean and standard deviation of every weight."""

    mean: Params
    std: Params


@learner_factory
def bgd(
    model: Model,
    setting: Setting,
    *,
    mean_eta: NonNegative = 1.0,
    std_init: Positive = 0.05,
    mc_samples: int = 10,
    glances: int = 1,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
    noise: Noise | None = None,
) -> Learner:
    """Return Bayesian gradient descent, by the update of `lamaml_jax/learners/parts/posterior.py`.

    With g the gradient of the incoming examples' summed loss at theta = mean + std * eps, eps ~ N(0, 1), and E the
    mean over samples:

        mean <- mean - eta * std^2 * E[g],
        std <- std * sqrt(1 + (std * E[g * eps] / 2)^2) - std^2 * E[g * eps] / 2.

    Args:
        model: The network; the mean starts at `model.init`.
        setting: The stream's static facts.
        mean_eta: eta, which multiplies the mean's step but not the standard deviation's.
        std_init: Initial standard deviation of every weight. A vanishing one freezes the mean.
        mc_samples: m, the samples of the weights in each step, >= 1.
        glances: Steps on the same incoming examples, >= 1.
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
        clip_norm: Clip each sample's gradient of the mean loss to this global norm; None does not clip.
        noise: Replaces the draws of eps: `noise(key, sample, mean) -> eps`, `sample` in [0, m).

    Returns:
        The learner; its state is a `BgdState`, its info, averaged over samples, `loss` and `gradient_norm` (of the
        mean loss, before clipping), and `std` (averaged over weights).

    Raises:
        ValueError: A static argument is out of its range.

    Reference: Zeno, Golan, Hoffer and Soudry, "Task Agnostic Continual Learning Using Online Variational Bayes",
    arXiv:1803.10123, Algorithm 1.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, bgd, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> bgd(networks.mlp(10), setting, std_init=0.02, mc_samples=2).needs
        frozenset()
    """
    checks.integer("mc_samples", mc_samples, 1)
    checks.integer("glances", glances, 1)
    examples_per_step = checks.step_size(examples_per_step, setting.batch_size)
    loss_fn = task_loss(model.apply, setting)

    def init(key: chex.PRNGKey, example: Batch) -> BgdState:
        mean = model.init(key, example.x)
        return BgdState(mean, optax.tree.full_like(mean, std_init))

    def use(key: chex.PRNGKey, state: BgdState, piece: Batch) -> tuple[BgdState, Info]:
        def gradient(key: chex.PRNGKey, params: Params) -> tuple[Params, Info]:
            loss, grads = jax.value_and_grad(loss_fn)(params, piece)
            return summed_gradient(loss, grads, piece, clip_norm)

        def glance(state: BgdState, key: chex.PRNGKey) -> tuple[BgdState, Info]:
            mean, std, info = posterior_step(
                key, state.mean, state.std, gradient, mean_eta, mc_samples, noise
            )
            return BgdState(mean, std), info

        state, infos = jax.lax.scan(glance, state, jax.random.split(key, glances))
        return state, jax.tree.map(jnp.mean, infos)

    def update(key: chex.PRNGKey, state: BgdState, batch: Batch) -> tuple[BgdState, Info]:
        return scan_pieces(use, key, state, batch, examples_per_step)

    def predict(
        state: BgdState, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        return task_scores(model.apply(state.mean, x), setting.class_mask, task)

    return Learner(init, update, predict)
