"""Online: plain SGD on the stream, the lower end of every comparison.

Dimensions: B batch.
"""

from typing import NamedTuple

import chex

from lamaml_jax import checks
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.losses import task_loss, task_predict
from lamaml_jax.pieces import scan_pieces
from lamaml_jax.types import Batch, Info, Learner, Model, NonNegative, Params, Positive, Setting
from lamaml_jax.updates import sgd_step


class OnlineState(NamedTuple):
    """Weights."""

    params: Params


@learner_factory
def online(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.003,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
) -> Learner:
    """Return plain SGD: theta <- theta - lr * grad L(theta, incoming examples).

    Args:
        model: The network.
        setting: The stream's static facts.
        lr: Learning rate.
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
        clip_norm: Clip gradients to this global norm; None does not clip.

    Returns:
        The learner; its state is an `OnlineState`, its info `loss` and `gradient_norm`.

    Raises:
        ValueError: A static argument is out of its range.

    Reference: "Online" of Riemer et al., "Learning to Learn without Forgetting by Maximizing Transfer and Minimizing
    Interference", ICLR 2019.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, networks, online
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> online(networks.mlp(10), setting, lr=0.01, examples_per_step=1).needs
        frozenset()
    """
    examples_per_step = checks.step_size(examples_per_step, setting.batch_size)
    loss_fn = task_loss(model.apply, setting)

    def init(key: chex.PRNGKey, example: Batch) -> OnlineState:
        return OnlineState(model.init(key, example.x))

    def step(key: chex.PRNGKey, state: OnlineState, piece: Batch) -> tuple[OnlineState, Info]:
        params, info = sgd_step(loss_fn, state.params, piece, lr, clip_norm=clip_norm)
        return OnlineState(params), info

    def update(key: chex.PRNGKey, state: OnlineState, batch: Batch) -> tuple[OnlineState, Info]:
        return scan_pieces(step, key, state, batch, examples_per_step)

    return Learner(init, update, task_predict(model.apply, setting.class_mask))


@learner_factory
def iid(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.003,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
) -> Learner:
    """Return Online on all tasks shuffled together, the upper end of a comparison: SGD on what is then i.i.d.

    It sees every example once per epoch; methods with several glances or replay make more steps, and may retain more.

    Args:
        model: See `online`, like all that follow.
        setting: See `online`.
        lr: See `online`.
        examples_per_step: See `online`.
        clip_norm: See `online`.

    Returns:
        The learner; it needs a "mixed_stream", on which LA, BTI and FWT are not defined.

    Raises:
        ValueError: A static argument is out of its range.

    Reference: "IID" of Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS
    2020.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, iid, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> sorted(iid(networks.mlp(10), setting).needs)
        ['mixed_stream']
    """
    learner = online(
        model, setting, lr=lr, examples_per_step=examples_per_step, clip_norm=clip_norm
    )
    return learner._replace(needs=frozenset({"mixed_stream"}))
