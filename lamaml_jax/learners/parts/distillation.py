"""Replay that also holds the network to what it once gave for the remembered examples: DER++ (Buzzega et al. 2020).

Reference: Buzzega, Boschini, Porrello, Abati and Calderara, "Dark Experience for General Continual Learning: a Strong,
Simple Baseline", NeurIPS 2020, equation 6.

Dimensions: B batch, R rows of it that were replayed, C classes.
"""

import jax
import jax.numpy as jnp

from lamaml_jax import checks, replay
from lamaml_jax.losses import LossFn, head_masks, mean_over_valid, outputs_loss, task_loss
from lamaml_jax.types import Apply, Batch, Params, Positive, Setting


def distilled_loss(apply: Apply, setting: Setting, distill: Positive | None) -> LossFn:
    """Return the loss of a batch, and of the rows whose logits are kept how far the network's are from these.

    L(theta) + distill * mean over the R rows of mean_c (f_c(theta; x) - z_c)^2, c the outputs of the row's task.

    Args:
        apply: The network.
        setting: The stream's static facts.
        distill: The weight; None is the loss alone.

    Returns:
        `loss(params, batch) -> scalar`, over valid rows; of a batch that has no `logits` it is the loss alone.
    """
    if distill is None:
        return task_loss(apply, setting)
    of_outputs, masks = outputs_loss(setting), head_masks(setting.class_mask)

    def loss(params: Params, batch: Batch) -> jax.Array:
        outputs = apply(params, batch.x)
        loss = of_outputs(outputs, batch)
        if batch.logits is None:
            return loss
        rows = len(batch.logits)
        mask = None if masks is None else masks[batch.task[:rows]]
        distances = jnp.mean((outputs[:rows] - batch.logits) ** 2, axis=-1, where=mask)
        return loss + distill * mean_over_valid(distances, batch.valid[:rows])

    return loss


def require_logits(replayed: Batch, distill: Positive | None) -> None:
    """Check that a draw has kept the logits of what it replays.

    Raises:
        ValueError: It has not, and they are to be distilled.
    """
    if distill is not None and replayed.logits is None:
        raise checks.Refusal(
            "draw returns replayed examples without logits; with distill it must keep the memory's."
        )


def empty_memory(
    apply: Apply, params: Params, example: Batch, capacity: int, distill: Positive | None
) -> replay.Memory:
    """Return an empty memory of `capacity` slots for examples like `example`'s, with their logits unless it is None."""
    return replay.init(with_logits(apply, params, example, distill), capacity)


def with_logits(apply: Apply, params: Params, batch: Batch, distill: Positive | None) -> Batch:
    """Return a batch as a memory takes it: with the network's logits, unless `distill` is None."""
    return batch if distill is None else batch._replace(logits=apply(params, batch.x))
