"""Meta-experience replay: SGD one example at a time, slowed down by Reptile's interpolation (Riemer et al. 2019).

Dimensions: B batch, M memory slots, R replayed examples.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks, replay
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.losses import mean_over_valid, task_loss, task_predict
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
from lamaml_jax.updates import sgd_step


class MerState(NamedTuple):
    """Weights and the replay memory."""

    params: Params
    memory: replay.Memory


@learner_factory
def mer(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.1,
    within_batch_lr: NonNegative = 0.01,
    across_batch_lr: NonNegative = 1.0,
    batches_per_example: int = 5,
    memory: int = 200,
    replay_batch: int = 10,
    clip_norm: Positive | None = None,
    replacement: bool = True,
    age_inclusive: bool = True,
    draw: replay.Draw | None = None,
) -> Learner:
    """Return MER, Algorithm 1: single-example SGD on incoming and replayed examples, within Reptile's interpolation.

    For each incoming example, with theta_A the weights before it: `batches_per_example` times, with theta_W the
    weights before the batch, one SGD step on the incoming example and one on each of R replayed ones,
    theta <- theta - lr * grad l(theta, example), then theta <- theta_W + beta * (theta - theta_W). At the end
    theta <- theta_A + gamma * (theta - theta_A), and the example is offered to the reservoir, in every epoch.

    The incoming example comes first in each batch, as in the authors' code. A padding row takes no step.

    Args:
        model: The network.
        setting: The stream's static facts.
        lr: Learning rate of the single-example steps (alpha in the paper).
        within_batch_lr: beta, the interpolation after each batch; 1 keeps what its steps did.
        across_batch_lr: gamma, the interpolation after all batches of an example; 1 keeps what they did.
        batches_per_example: Batches for each incoming example, each with its own draw, >= 1.
        memory: M, slots of the reservoir, >= 1.
        replay_batch: R, examples replayed in each batch, >= 0; there are fewer steps while the memory holds fewer.
        clip_norm: Clip each example's gradient to this global norm; None does not clip.
        replacement: Whether one batch may replay an example twice.
        age_inclusive: The released reservoir's rule, a hair under uniform; False is uniform.
        draw: Replaces the draw of a batch: `draw(key, memory, example) -> (example, replayed)`.

    Returns:
        The learner; its state is a `MerState`, its info `loss`, the mean over the examples of all steps.

    Raises:
        ValueError: A static argument is out of its range.

    Reference:
        Riemer et al., "Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference",
        ICLR 2019.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, mer, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> mer(networks.mlp(10), setting, lr=0.03, within_batch_lr=0.03).needs
        frozenset()
    """
    checks.integer("batches_per_example", batches_per_example, 1)
    checks.integer("memory", memory, 1)
    checks.integer("replay_batch", replay_batch, 0, None if replacement else memory)
    loss_fn = task_loss(model.apply, setting)
    draw = draw or functools.partial(
        replay.draw, size=replay_batch, replacement=replacement, shuffle=False
    )

    def init(key: chex.PRNGKey, example: Batch) -> MerState:
        return MerState(model.init(key, example.x), replay.init(example, memory))

    def use(key: chex.PRNGKey, state: MerState, example: Batch) -> tuple[MerState, Info]:
        key_batches, key_push = jax.random.split(key)

        def learn_batch(params: Params, key: chex.PRNGKey) -> tuple[Params, jax.Array]:
            current, replayed = draw(key, state.memory, example)
            steps = replay.join(current, replayed)
            valid = steps.valid & example.valid

            def step(params: Params, row: tuple[jax.Array, ...]) -> tuple[Params, jax.Array]:
                # A row that is not valid has a loss of zero, and so no gradient.
                single = Batch(*(a[None] for a in row))
                params, info = sgd_step(loss_fn, params, single, lr, clip_norm=clip_norm)
                return params, info["loss"]

            after, losses = jax.lax.scan(step, params, (steps.x, steps.y, steps.task, valid))
            return _interpolate(params, after, within_batch_lr), mean_over_valid(losses, valid)

        keys = jax.random.split(key_batches, batches_per_example)
        after, losses = jax.lax.scan(learn_batch, state.params, keys)
        params = _interpolate(state.params, after, across_batch_lr)
        memory = replay.after(state.memory, params)
        kept = replay.add_reservoir(key_push, memory, example, age_inclusive=age_inclusive)
        return MerState(params, kept), {"loss": jnp.mean(losses)}

    def update(key: chex.PRNGKey, state: MerState, batch: Batch) -> tuple[MerState, Info]:
        return scan_pieces(use, key, state, batch, 1)

    return Learner(init, update, task_predict(model.apply, setting.class_mask))


def _interpolate(before: Params, after: Params, rate: jax.Array | float) -> Params:
    """Return before + rate * (after - before): Reptile's step (Nichol, Achiam and Schulman 2018)."""
    return jax.tree.map(lambda b, a: b + jnp.asarray(rate, b.dtype) * (a - b), before, after)
