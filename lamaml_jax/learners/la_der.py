"""La-DER: La-MAML whose meta-loss also holds the network to what it once gave for remembered examples."""

from lamaml_jax.learners.la_maml import la_maml
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.types import Learner, Model, NonNegative, Positive, Setting
from lamaml_jax.updates import MetaLossAt, Order


@learner_factory
def la_der(
    model: Model,
    setting: Setting,
    *,
    distill: Positive = 0.3,
    lr_init: NonNegative = 0.15,
    lr_lr: NonNegative = 0.3,
    inner_steps: int = 10,
    glances: int = 5,
    memory: int = 197,
    replay_batch: int = 10,
    order: Order = "first",
    clip_norm: Positive | None = 2.0,
    meta_loss_at: MetaLossAt = "every",
    inner_lr_relu: bool = True,
    inner_clip: Positive | None = None,
    inner_clip_norm: Positive | None = None,
) -> Learner:
    """Return La-DER, look-ahead dark experience replay: La-MAML, with distillation in its meta-loss.

    It is `la_maml` with `distill` and the released code's readings of a glance and of the reservoir; these, and the
    draw, are keywords of `la_maml`. The memory keeps the network's outputs of each example as they were when it
    entered, and the meta-loss of replayed examples, at each look-ahead's weights, gets `distill` times the mean squared
    distance to these. All else is La-MAML's, and so is the number of examples that gradients are taken of.

    Args:
        model: The network.
        setting: The stream's static facts.
        distill: Weight of the distance in the meta-loss.
        lr_init: As in `la_maml`, like all that follow.
        lr_lr: See `la_maml`.
        inner_steps: See `la_maml`.
        glances: See `la_maml`.
        memory: See `la_maml`; 197 digits of MNIST with ten outputs each take the bytes of 200 without.
        replay_batch: See `la_maml`.
        order: See `la_maml`.
        clip_norm: See `la_maml`.
        meta_loss_at: See `la_maml`.
        inner_lr_relu: See `la_maml`.
        inner_clip: See `la_maml`.
        inner_clip_norm: See `la_maml`.

    Returns:
        The learner; its state and info are `la_maml`'s.

    Raises:
        ValueError: A static argument is out of its range.

    Reference:
        Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020; Buzzega,
        Boschini, Porrello, Abati and Calderara, "Dark Experience for General Continual Learning: a Strong, Simple
        Baseline", NeurIPS 2020. Their combination is this package's.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, la_der, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> la_der(networks.mlp(10), setting, distill=0.1).needs
        frozenset()
    """
    return la_maml(
        model,
        setting,
        lr_init=lr_init,
        lr_lr=lr_lr,
        inner_steps=inner_steps,
        glances=glances,
        memory=memory,
        replay_batch=replay_batch,
        order=order,
        clip_norm=clip_norm,
        meta_loss_at=meta_loss_at,
        inner_lr_relu=inner_lr_relu,
        inner_clip=inner_clip,
        inner_clip_norm=inner_clip_norm,
        distill=distill,
    )
