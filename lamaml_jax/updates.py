"""The update rules of La-MAML, for use in any training loop.

Each takes a loss `loss_fn(params, batch) -> scalar`; batches may be any pytree. In the paper's letters: theta are the
`params`, alpha the `lrs` (one learning rate per parameter, or one scalar), K the number of inner steps.

Reference: Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax

from lamaml_jax import checks
from lamaml_jax.losses import mean_over_valid
from lamaml_jax.types import Info, Params

Rates: TypeAlias = Params | jax.Array | float
Loss: TypeAlias = Callable[[Params, Any], jax.Array]
Order: TypeAlias = Literal["first", "second"]
MetaLossAt: TypeAlias = Literal["every", "last"]


def lookahead(
    loss_fn: Loss,
    params: Params,
    lrs: Rates,
    pieces: Sequence[Any],
    *,
    order: Order = "first",
    inner_lr_relu: bool = False,
    inner_clip: jax.Array | float | None = None,
    inner_clip_norm: jax.Array | float | None = None,
) -> list[Params]:
    """Take K inner SGD steps and return the fast weights after each (Algorithm 1, the inner loop).

    theta_{k+1} = theta_k - alpha * grad l(theta_k, b[k]), elementwise.

    Args:
        loss_fn: The inner loss l.
        params: theta_0.
        lrs: alpha, shaped like `params`, or one scalar for all.
        pieces: The K pieces b[k] of the incoming batch.
        order: "first" treats the inner gradients as constants (the path through `lrs` stays); "second"
            differentiates through them.
        inner_lr_relu: Whether to use max(0, alpha), as the released code does on MNIST.
        inner_clip: Clip the inner gradients elementwise to +-this; None does not clip.
        inner_clip_norm: Before that scale each step's inner gradient to at most this global norm, which "second" order
            differentiates through as well; None does not scale.

    Returns:
        theta_1, ..., theta_K.

    Raises:
        ValueError: `order` is not one of its choices.
    """
    checks.choice("order", order, Order)
    rates = _like(params, lrs)
    if inner_lr_relu:
        rates = jax.tree.map(jax.nn.relu, rates)
    trajectory = []
    for piece in pieces:
        grads = jax.grad(loss_fn)(params, piece)
        if order == "first":
            grads = jax.lax.stop_gradient(grads)
        if inner_clip_norm is not None:
            grads = _within(grads, inner_clip_norm)
        if inner_clip is not None:
            grads = jax.tree.map(lambda g: jnp.clip(g, -inner_clip, inner_clip), grads)
        params = descend(params, rates, grads)
        trajectory.append(params)
    return trajectory


def meta_objective(
    loss_fn: Loss,
    params: Params,
    lrs: Rates,
    pieces: Sequence[Any],
    meta_batch: Any,
    *,
    order: Order = "first",
    meta_loss_at: MetaLossAt = "every",
    inner_lr_relu: bool = False,
    inner_clip: jax.Array | float | None = None,
    inner_clip_norm: jax.Array | float | None = None,
    is_filled: jax.Array | None = None,
) -> jax.Array:
    """Return the meta-loss that follows a look-ahead from `params` with rates `lrs` (Algorithm 1).

    Args:
        loss_fn: The loss, both inner and outer.
        params: theta_0.
        lrs: alpha, shaped like `params`, or one scalar for all.
        pieces: The K pieces of the incoming batch for the inner steps.
        meta_batch: Replayed and incoming examples, b_m.
        order: As in `lookahead`.
        meta_loss_at: "last" is L(theta_K), as published; "every" is the mean of L(theta_1), ..., L(theta_K) on the
            same meta-batch, as released.
        inner_lr_relu: As in `lookahead`.
        inner_clip: As in `lookahead`.
        inner_clip_norm: As in `lookahead`.
        is_filled: bool `[K]`, the pieces that hold an example. Others, whose inner gradient must be zero, do not count
            in the mean. None says that all do.

    Returns:
        The meta-objective, a scalar.

    Raises:
        ValueError: `order` or `meta_loss_at` is not one of its choices.
    """
    checks.choice("meta_loss_at", meta_loss_at, MetaLossAt)
    trajectory = lookahead(
        loss_fn,
        params,
        lrs,
        pieces,
        order=order,
        inner_lr_relu=inner_lr_relu,
        inner_clip=inner_clip,
        inner_clip_norm=inner_clip_norm,
    )
    if meta_loss_at == "last":
        return loss_fn(trajectory[-1], meta_batch)
    losses = jnp.stack([loss_fn(fast_params, meta_batch) for fast_params in trajectory])
    return losses.mean() if is_filled is None else mean_over_valid(losses, is_filled)


def hypergradients(
    loss_fn: Loss,
    params: Params,
    lrs: Rates,
    pieces: Sequence[Any],
    meta_batch: Any,
    *,
    order: Order = "first",
    meta_loss_at: MetaLossAt = "every",
    inner_lr_relu: bool = False,
    inner_clip: jax.Array | float | None = None,
    inner_clip_norm: jax.Array | float | None = None,
    is_filled: jax.Array | None = None,
) -> tuple[jax.Array, Params, Rates]:
    """Return the meta-objective and its gradients in `params` and in `lrs`.

    In first order, with g_j the inner gradients, these are mean_k grad L(theta_k) and
    -mean_k (grad L(theta_k) * sum_{j<k} g_j), elementwise: old and new gradients that agree raise the rate.

    Args:
        loss_fn: The loss, both inner and outer.
        params: theta_0.
        lrs: alpha, shaped like `params`, or one scalar for all.
        pieces: The K pieces of the incoming batch for the inner steps.
        meta_batch: Replayed and incoming examples, b_m.
        order: As in `meta_objective`, like all that follow.
        meta_loss_at: See `meta_objective`.
        inner_lr_relu: See `meta_objective`.
        inner_clip: See `meta_objective`.
        inner_clip_norm: See `meta_objective`.
        is_filled: See `meta_objective`.

    Returns:
        The meta-objective, its gradient in `params` and its gradient in `lrs`.

    Raises:
        ValueError: As `meta_objective`.
    """

    def objective(params: Params, lrs: Rates) -> jax.Array:
        return meta_objective(
            loss_fn,
            params,
            lrs,
            pieces,
            meta_batch,
            order=order,
            meta_loss_at=meta_loss_at,
            inner_lr_relu=inner_lr_relu,
            inner_clip=inner_clip,
            inner_clip_norm=inner_clip_norm,
            is_filled=is_filled,
        )

    lrs = jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a, float)), lrs)
    loss, (grads, lr_grads) = jax.value_and_grad(objective, argnums=(0, 1))(params, lrs)
    return loss, grads, lr_grads


def modulated_step(params: Params, lrs: Rates, grads: Params) -> Params:
    """Return theta - max(0, alpha) * gradient (Algorithm 1, the outer step): a rate below zero moves nothing."""
    return descend(params, jax.tree.map(jax.nn.relu, _like(params, lrs)), grads)


def descend(params: Params, lrs: Rates, grads: Params) -> Params:
    """Return params - lrs * grads for rates shaped like `params`, or one scalar for all."""
    return jax.tree.map(lambda p, a, g: p - a * g, params, _like(params, lrs), grads)


def sgd_step(
    loss_fn: Loss,
    params: Params,
    batch: Any,
    lr: jax.Array | float,
    *,
    clip_norm: jax.Array | float | None = None,
) -> tuple[Params, Info]:
    """Take one SGD step.

    Args:
        loss_fn: The loss.
        params: theta.
        batch: What the loss takes.
        lr: Learning rate.
        clip_norm: Clip the gradient to this global norm; None does not clip.

    Returns:
        The new params, and the `loss` and the `gradient_norm` (before clipping) of the old.
    """
    loss, grads = jax.value_and_grad(loss_fn)(params, batch)
    grads, norm = clip_by_global_norm(grads, clip_norm)
    return descend(params, lr, grads), {"loss": loss, "gradient_norm": norm}


def clip_by_global_norm(
    grads: Params, max_norm: jax.Array | float | None
) -> tuple[Params, jax.Array]:
    """Scale a pytree of gradients to a global norm of at most `max_norm`; None leaves them as they are.

    The factor is max_norm / (norm + 1e-6), at most 1: the reference implementation's, which optax's differs from
    in the seventh digit.

    Returns:
        The gradients, and their norm before clipping.
    """
    norm = optax.tree.norm(grads)
    if max_norm is None:
        return grads, norm
    scale = jnp.minimum(1.0, max_norm / (norm + 1e-6))
    return jax.tree.map(lambda g: scale.astype(g.dtype) * g, grads), norm


def _within(grads: Params, max_norm: jax.Array | float) -> Params:
    """Scale to a global norm of at most `max_norm`, differentiably where gradients are zero too, as padding's are."""
    # A square of the bound itself may be too small for a float.
    squared = optax.tree.norm(jax.tree.map(lambda g: g / max_norm, grads), squared=True)
    scale = 1 / jnp.sqrt(jnp.maximum(squared, 1))
    return jax.tree.map(lambda g: scale.astype(g.dtype) * g, grads)


def _like(params: Params, lrs: Rates) -> Params:
    if jax.tree.structure(lrs) == jax.tree.structure(params):  # type: ignore[operator]
        return lrs
    return jax.tree.map(lambda p: jnp.broadcast_to(jnp.asarray(lrs, p.dtype), p.shape), params)
