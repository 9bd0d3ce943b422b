"""What looking ahead rewards (the paper's Appendix B): for small rates, that gradients of new and all tasks agree.

With theta_k the weights after k inner steps of rate alpha on the losses l_1, ..., l_K,

    theta_K = theta - alpha sum_k grad l_k(theta) + O(alpha^2),
    L(theta_K) = L(theta) - alpha grad L(theta) . sum_k grad l_k(theta) + O(alpha^2),

and the same holds of the gradients in theta, if the losses are smooth. So the gap between the gradient of the left and
that of the right falls as alpha^2: by a slope of 2 in a log-log plot. The text shows it for K = 1.

Dimensions: A rates, K inner steps.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from lamaml_jax.types import Params
from lamaml_jax.updates import Loss, meta_objective


class Gaps(NamedTuple):
    """Distances of the meta-gradient from what it tends to, as global norms.

    Attributes:
        surrogate: `[A]`, from the gradient of the surrogate: of order alpha^2.
        joint: `[A]`, from the gradient of the meta-loss without looking ahead: of order alpha, the term's own size.
        gradient_norm: Scalar, the norm of that gradient, beside which gaps are small or large.
    """

    surrogate: jax.Array
    joint: jax.Array
    gradient_norm: jax.Array


def surrogate_loss(
    loss_fn: Loss,
    params: Params,
    lr: jax.Array | float,
    pieces: Sequence[Any],
    meta_batch: Any,
) -> jax.Array:
    """Return L(theta) - alpha grad L(theta) . sum_k grad l_k(theta), a scalar (Appendix B).

    Args:
        loss_fn: The loss `loss(params, batch) -> scalar`, both inner and outer.
        params: theta.
        lr: alpha, one rate for all weights.
        pieces: The K pieces of the incoming batch, one for each inner step.
        meta_batch: What L is taken on.
    """
    loss, grads = jax.value_and_grad(loss_fn)(params, meta_batch)
    inner = [optax.tree.vdot(grads, jax.grad(loss_fn)(params, piece)) for piece in pieces]
    return loss - lr * sum(inner)


def meta_gradient_gaps(
    loss_fn: Loss,
    params: Params,
    lrs: ArrayLike,
    pieces: Sequence[Any],
    meta_batch: Any,
) -> Gaps:
    """Return how far the meta-gradient is from the surrogate's gradient, for each of A inner rates.

    The meta-gradient is that of `meta_objective` in second order at theta_K, as published. In single precision rounding
    hides what is below 1e-7 of the gradient: take double precision (`jax.enable_x64`) for small rates. Kinks such as
    ReLU's add to the gap where a step crosses one; the slope then holds for rates so small that none is crossed.

    Args:
        loss_fn: As in `surrogate_loss`.
        params: theta.
        lrs: The rates alpha `[A]`.
        pieces: The K pieces of the incoming batch, one for each inner step.
        meta_batch: What the meta-loss is taken on.

    Returns:
        The gaps; `log_log_slope(lrs, gaps.surrogate)` is close to 2, and to 1 for `gaps.joint`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lamaml_jax.analysis import log_log_slope, meta_gradient_gaps
        >>> def loss(params, batch):
        ...     x, y = batch
        ...     return jnp.mean((jnp.tanh(x @ params) - y) ** 2)
        >>> rates = 2.0 ** -jnp.arange(6, 12)
        >>> with jax.enable_x64(True):
        ...     x = jnp.arange(12.0).reshape(4, 3) / 12
        ...     piece, meta_batch = (x[:2], jnp.ones(2)), (x, jnp.cos(jnp.arange(4.0)))
        ...     gaps = meta_gradient_gaps(loss, jnp.full(3, 0.1), rates, [piece], meta_batch)
        >>> print(round(log_log_slope(rates, gaps.surrogate), 1))
        2.0
    """

    def look_ahead_loss(params: Params, lr: jax.Array) -> jax.Array:
        return meta_objective(
            loss_fn, params, lr, pieces, meta_batch, order="second", meta_loss_at="last"
        )

    def surrogate(params: Params, lr: jax.Array) -> jax.Array:
        return surrogate_loss(loss_fn, params, lr, pieces, meta_batch)

    joint = jax.grad(loss_fn)(params, meta_batch)

    def gaps(lr: jax.Array) -> tuple[jax.Array, jax.Array]:
        meta = jax.grad(look_ahead_loss)(params, lr)
        others = jax.grad(surrogate)(params, lr), joint
        from_surrogate, from_joint = (optax.tree.norm(optax.tree.sub(meta, g)) for g in others)
        return from_surrogate, from_joint

    from_surrogate, from_joint = jax.lax.map(gaps, jnp.asarray(lrs))
    return Gaps(from_surrogate, from_joint, optax.tree.norm(joint))


def log_log_slope(x: ArrayLike, y: ArrayLike) -> float:
    """Return the slope of log y against log x by least squares: the power p of y ~ x^p.

    Of two neighbouring points at a time it shows where a power law begins and ends.

    Args:
        x: `[A]`, A >= 2, positive and not all the same.
        y: `[A]`, positive.

    Raises:
        ValueError: A value has no logarithm, or the points determine no slope.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    for name, values in (("x", x), ("y", y)):
        if not np.all((values > 0) & np.isfinite(values)):
            raise ValueError(f"{name} is {values}; all values must be finite and > 0.")
    if x.ndim != 1 or x.shape != y.shape or len(np.unique(x)) < 2:
        raise ValueError(
            f"x and y are of shape {x.shape} and {y.shape}; a slope takes as many values of both, of at least two "
            "different x."
        )
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
