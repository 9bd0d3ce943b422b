"""The paper's analyses as pure functions on weights, batches and results."""

from lamaml_jax.analysis.alignment import Alignment, OldAndNew, gradient_alignment, old_and_new
from lamaml_jax.analysis.equivalence import (
    Gaps,
    log_log_slope,
    meta_gradient_gaps,
    surrogate_loss,
)

__all__ = [
    "Alignment",
    "Gaps",
    "OldAndNew",
    "gradient_alignment",
    "log_log_slope",
    "meta_gradient_gaps",
    "old_and_new",
    "surrogate_loss",
]
