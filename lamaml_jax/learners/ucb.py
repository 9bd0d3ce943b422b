"""UCB: uncertainty-guided continual learning with a Bayesian network (Ebrahimi et al. 2020).

Dimensions: B batch, C classes.
"""

import functools
from collections.abc import Callable
from typing import Annotated, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import optax

from lamaml_jax import checks
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.posterior import Noise, normal_noise
from lamaml_jax.losses import require_classes, task_loss, task_scores
from lamaml_jax.pieces import scan_pieces
from lamaml_jax.types import (
    Apply,
    Batch,
    Info,
    Learner,
    Model,
    NonNegative,
    Params,
    Positive,
    Range,
    Setting,
)
from lamaml_jax.updates import clip_by_global_norm, descend

Probability: TypeAlias = Annotated[
    float | jax.Array, Range("a number in [0, 1]", lambda v: 0 <= v <= 1)
]


class UcbState(NamedTuple):
    """Mean mu and rho of every weight, with std sigma = log(1 + exp(rho)), and the learning rate of every mean."""

    mean: Params
    rho: Params
    lrs: Params


@learner_factory
def ucb(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.3,
    rho_lr: NonNegative | None = None,
    std_init: Positive = 0.05,
    prior_pi: Probability = 0.25,
    prior_std1: Positive = 1.0,
    prior_std2: Positive = 0.0025,
    kl_weight: NonNegative = 1.0,
    mc_samples: int = 10,
    eval_samples: int = 0,
    glances: int = 1,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
    noise: Noise | None = None,
) -> Learner:
    """Return UCB: Bayes by backprop, where a mean learns the faster the more uncertain its weight is.

    The weights are w = mu + sigma * eps, eps ~ N(0, 1). With N training examples in a task, SGD on mu and rho takes

        mean of -log p(y | x, w) over the examples + kl_weight / N * (log q(w) - log p(w)),

    averaged over samples: the objective of Bayes by backprop, (log q - log p) / M - log-likelihood of one of M
    batches, divided by B. q is N(mu, sigma^2), p the mixture pi * N(0, std1^2) + (1 - pi) * N(0, std2^2), over all
    weights but those that only lead to the heads of other tasks: a head stays as it is while its task is not trained.
    Until a task has ended all rates are `lr`. At every task's end the importance of a weight is 1 / sigma and the rate
    of its mean becomes lr / importance = lr * sigma (never compounded, as in the released code); rho's stays. That
    asks nothing of the order of the tasks, which may come back, end again and share batches.

    The paper's pruning variant (UCB-P) is left out. In the released code the terms of q and p give no gradient
    (`kl_weight=0`), weights are drawn with the initial sigma for ever, and heads after the first are not trained;
    here they are as in the paper.

    Args:
        model: The network; the means start at `model.init`.
        setting: The stream's static facts; a task's N is B times its batches per epoch.
        lr: Learning rate of the means during the first task, times sigma afterwards.
        rho_lr: Learning rate of rho; None takes `lr`.
        std_init: Initial sigma of every weight.
        prior_pi: Share of the prior's wide component; 1 is a single normal distribution.
        prior_std1: Its standard deviation.
        prior_std2: Standard deviation of the prior's narrow component.
        kl_weight: Weight of log q - log p; 1 is the paper's.
        mc_samples: Samples of the weights in each step, >= 1.
        eval_samples: Samples of the weights whose probabilities `predict` averages, drawn from its key, >= 0; 0
            predicts at the mean, as the released code does.
        glances: Steps on the same incoming examples, >= 1.
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
        clip_norm: Clip each step's gradients of mu and rho together to this global norm; None does not clip.
        noise: Replaces the draws of eps in training: `noise(key, sample, mean) -> eps`, `sample` in [0, mc_samples).

    Returns:
        The learner; its state is a `UcbState`, its info `loss` (of the data), `kl` (the sampled log q - log p) and
        `gradient_norm` (before clipping).

    Raises:
        ValueError: A static argument is out of its range, or `predict` has no key to draw samples from.

    Reference: Ebrahimi, Elhoseiny, Darrell and Rohrbach, "Uncertainty-guided Continual Learning with Bayesian Neural
    Networks", ICLR 2020; Blundell et al., "Weight Uncertainty in Neural Networks", ICML 2015 (Bayes by backprop).

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, networks, ucb
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> ucb(networks.mlp(10), setting, lr=0.1, eval_samples=5).needs
        frozenset()
    """
    if rho_lr is None:
        rho_lr = lr
    require_classes("ucb", setting)
    checks.integer("mc_samples", mc_samples, 1)
    checks.integer("eval_samples", eval_samples, 0)
    checks.integer("glances", glances, 1)
    examples_per_step = checks.step_size(examples_per_step, setting.batch_size)
    draw = noise or normal_noise
    loss_fn = task_loss(model.apply, setting)

    def init(key: chex.PRNGKey, example: Batch) -> UcbState:
        mean = model.init(key, example.x)
        rho = optax.tree.full_like(mean, std_init + jnp.log(-jnp.expm1(-std_init)))
        return UcbState(mean, rho, optax.tree.full_like(mean, lr))

    def num_examples(batch: Batch) -> jax.Array | int:
        of_task = batch.num_batches
        return setting.batch_size * (setting.batches_per_epoch if of_task is None else of_task)

    def log_prior(w: jax.Array) -> jax.Array:
        """Return log p(w), but for the constant that log q has as well."""
        wide = jnp.log(prior_pi) - jnp.log(prior_std1) - (w / prior_std1) ** 2 / 2
        spike = jnp.log1p(-prior_pi) - jnp.log(prior_std2) - (w / prior_std2) ** 2 / 2
        return jnp.logaddexp(wide, spike)

    def log_posterior(std: jax.Array, eps: jax.Array) -> jax.Array:
        """Return log q(w), but for the constant that log p has as well."""
        return -jnp.log(std) - eps**2 / 2

    def counted(state: UcbState, piece: Batch) -> Params:
        """Return where weights lead to heads that the piece's examples are of, which q and p are over."""
        if setting.class_mask.all():
            return jax.tree.map(lambda m: True, state.mean)
        own = jnp.any(jnp.asarray(setting.class_mask)[piece.task] & piece.valid[:, None], axis=0)
        return _leads_to(model.apply, state.mean, piece.x, own)

    def glance(
        piece: Batch, is_counted: Params, state: UcbState, key: chex.PRNGKey
    ) -> tuple[UcbState, Info]:
        std = jax.tree.map(jax.nn.softplus, state.rho)
        weight = piece.valid.any() * kl_weight / num_examples(piece)  # padding alone moves nothing

        def without_log_q(params: Params) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            prior = _total(log_prior, is_counted, params)
            loss = loss_fn(params, piece)
            return loss - weight * prior, (loss, prior)

        def sample(
            sums: tuple[Params, Params], inputs: tuple[jax.Array, chex.PRNGKey]
        ) -> tuple[tuple[Params, Params], Info]:
            index, key = inputs
            eps = draw(key, index, state.mean)
            params = jax.tree.map(lambda m, s, e: m + s * e, state.mean, std, eps)
            grads, (loss, prior) = jax.grad(without_log_q, has_aux=True)(params)
            info = {"loss": loss, "kl": _total(log_posterior, is_counted, std, eps) - prior}
            return optax.tree.add(sums, (grads, optax.tree.mul(grads, eps))), info

        nothing = (optax.tree.zeros_like(std), optax.tree.zeros_like(std))
        keys = jax.random.split(key, mc_samples)
        sums, infos = jax.lax.scan(sample, nothing, (jnp.arange(mc_samples), keys))
        grads, grads_eps = jax.tree.map(lambda a: a / mc_samples, sums)
        # d/dsigma of a sample is g * eps, and of log q it is -1 / sigma; dsigma/drho = sigmoid(rho).
        rho_grads = jax.tree.map(
            lambda ge, s, rho, c: (
                (ge - jnp.where(c, weight.astype(s.dtype) / s, 0)) * jax.nn.sigmoid(rho)
            ),
            grads_eps,
            std,
            state.rho,
            is_counted,
        )
        (grads, rho_grads), norm = clip_by_global_norm((grads, rho_grads), clip_norm)
        mean = descend(state.mean, state.lrs, grads)
        rho = descend(state.rho, rho_lr, rho_grads)
        info = jax.tree.map(jnp.mean, infos) | {"gradient_norm": norm}
        return UcbState(mean, rho, state.lrs), info

    def use(key: chex.PRNGKey, state: UcbState, piece: Batch) -> tuple[UcbState, Info]:
        step = functools.partial(glance, piece, counted(state, piece))
        state, infos = jax.lax.scan(step, state, jax.random.split(key, glances))
        return state, jax.tree.map(jnp.mean, infos)

    def update(key: chex.PRNGKey, state: UcbState, batch: Batch) -> tuple[UcbState, Info]:
        return scan_pieces(use, key, state, batch, examples_per_step)

    def end_task(key: chex.PRNGKey, state: UcbState, data: Batch | None) -> UcbState:
        return state._replace(
            lrs=jax.tree.map(
                lambda rho: jnp.asarray(lr, rho.dtype) * jax.nn.softplus(rho), state.rho
            )
        )

    def predict(
        state: UcbState, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        if eval_samples == 0:
            return task_scores(model.apply(state.mean, x), setting.class_mask, task)
        if key is None:
            raise ValueError(
                f"key is None; it must be a key to draw {eval_samples} samples of the weights from."
            )

        def log_probabilities(key: chex.PRNGKey) -> jax.Array:
            eps = optax.tree.random_like(key, state.mean)
            params = jax.tree.map(
                lambda m, rho, e: m + jax.nn.softplus(rho) * e, state.mean, state.rho, eps
            )
            return jax.nn.log_softmax(task_scores(model.apply(params, x), setting.class_mask, task))

        samples = jax.lax.map(log_probabilities, jax.random.split(key, eval_samples))
        return jax.nn.logsumexp(samples, axis=0) - jnp.log(eval_samples)

    return Learner(init, update, predict, end_task)


def _total(fn: Callable[..., jax.Array], where: Params, *trees: Params) -> jax.Array:
    """Return the sum of `fn`, elementwise, over all weights `where` a tree of bools has them."""
    terms = jax.tree.map(lambda c, *leaves: jnp.where(c, fn(*leaves), 0), where, *trees)
    return optax.tree.sum(terms)


def _leads_to(apply: Apply, params: Params, x: jax.Array, own: jax.Array) -> Params:
    """Return bools shaped like `params`, false where a parameter reaches outputs, but none of `own [C]`.

    That a derivative is 0 does not tell, as those behind a unit at rest are 0 as well. But the product of 0 and NaN is
    NaN: what is NaN where the derivative of the own outputs is, or of none, is not of another head alone. What is
    reached through units alone that rest at inputs of one, as behind a ReLU, is NaN for none, and so true.
    """
    logits, pull_back = jax.vjp(lambda params: apply(params, jnp.ones_like(x[:1])), params)

    def reaches(outputs: jax.Array) -> Params:
        (grads,) = pull_back(jnp.where(outputs, jnp.nan, 0).astype(logits.dtype)[None])
        return jax.tree.map(jnp.isnan, grads)

    return jax.tree.map(lambda own, other: own | ~other, reaches(own), reaches(~own))
