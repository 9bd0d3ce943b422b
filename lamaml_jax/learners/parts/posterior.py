"""The update of Bayesian gradient descent (Zeno et al. 2018), which learns a normal distribution over every weight.

With m samples theta = mean + std * eps, eps ~ N(0, 1), and the gradient g at theta of the loss SUMMED over the incoming
examples (the negative log-likelihood in Bayes' rule, so the mean's gradient times the batch size), expectations being
means over the samples:

    mean <- mean - eta * std^2 * E[g]
    std <- std * sqrt(1 + (std * E[g * eps] / 2)^2) - std^2 * E[g * eps] / 2

A weight that is well determined gets a small std and so a small step.

Reference: Zeno, Golan, Hoffer and Soudry, "Task Agnostic Continual Learning Using Online Variational Bayes",
arXiv:1803.10123, Algorithm 1.
"""

from collections.abc import Callable
from typing import Protocol

import chex
import jax
import jax.numpy as jnp
import optax

from lamaml_jax.types import Batch, Info, Params
from lamaml_jax.updates import clip_by_global_norm


class Noise(Protocol):
    """`noise(key, sample, mean) -> eps`."""

    def __call__(self, key: chex.PRNGKey, sample: jax.Array, mean: Params, /) -> Params:
        """Return eps, shaped like `mean`, for the Monte Carlo sample of index `sample []`."""


def normal_noise(key: chex.PRNGKey, sample: jax.Array, mean: Params, /) -> Params:
    """Return eps ~ N(0, 1) shaped like `mean`: the `Noise` that is drawn where none is given."""
    return optax.tree.random_like(key, mean)


def summed_gradient(
    loss: jax.Array, grads: Params, incoming: Batch, clip_norm: jax.Array | float | None
) -> tuple[Params, Info]:
    """Turn the gradient of a mean loss into that of a sum.

    Args:
        loss: The mean loss, for the info.
        grads: Its gradient.
        incoming: The batch whose valid examples count.
        clip_norm: Clip the gradient of the mean to this global norm; None does not clip.

    Returns:
        The clipped gradient times the number of valid incoming examples, and the info `loss` and `gradient_norm`
        (before clipping).
    """
    grads, norm = clip_by_global_norm(grads, clip_norm)
    count = incoming.valid.sum()
    return jax.tree.map(lambda g: count * g, grads), {"loss": loss, "gradient_norm": norm}


def posterior_step(
    key: chex.PRNGKey,
    mean: Params,
    std: Params,
    gradient: Callable[[chex.PRNGKey, Params], tuple[Params, Info]],
    mean_eta: jax.Array | float,
    mc_samples: int,
    noise: Noise | None,
) -> tuple[Params, Params, Info]:
    """Take one step of mean and standard deviation (Algorithm 1).

    Args:
        key: Split over the samples, for their noise and their gradients.
        mean: Of every weight, any pytree.
        std: Shaped like `mean`.
        gradient: `gradient(key, params) -> (grads, info)`, at one sample of the weights.
        mean_eta: eta.
        mc_samples: m.
        noise: Replaces `normal_noise`, unless None.

    Returns:
        The new mean, the new standard deviation, and the mean of the infos with `std`, the mean deviation.
    """
    draw = noise or normal_noise

    def sample(
        total: tuple[Params, Params], inputs: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[Params, Params], Info]:
        index, key = inputs
        key_noise, key_gradient = jax.random.split(key)
        eps = draw(key_noise, index, mean)
        params = jax.tree.map(lambda m, s, e: m + s * e, mean, std, eps)
        grads, info = gradient(key_gradient, params)
        return optax.tree.add(total, (grads, optax.tree.mul(grads, eps))), info

    nothing = (optax.tree.zeros_like(mean), optax.tree.zeros_like(mean))
    keys = jax.random.split(key, mc_samples)
    total, infos = jax.lax.scan(sample, nothing, (jnp.arange(mc_samples), keys))
    grads, grads_eps = jax.tree.map(lambda a: a / mc_samples, total)
    eta = jax.tree.map(lambda m: jnp.asarray(mean_eta, m.dtype), mean)
    new_mean = jax.tree.map(lambda m, a, s, g: m - a * s**2 * g, mean, eta, std, grads)
    # sqrt(1 + a^2) - a = exp(-asinh(a)), which does not round to zero where a is large.
    new_std = jax.tree.map(lambda s, ge: s * jnp.exp(-jnp.arcsinh(s * ge / 2)), std, grads_eps)
    info = jax.tree.map(jnp.mean, infos)
    info["std"] = optax.tree.sum(new_std) / optax.tree.size(new_std)
    return new_mean, new_std, info
