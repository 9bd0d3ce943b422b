"""The paper's analyses as pure functions on weights, batches and results."""

from lamaml_jax.analysis.alignment import Alignment, OldAndNew, gradient_alignment, old_and_new
from lamaml_jax.analysis.equivalence import (
    Gaps,
    log_log_slope,
    meta_gradient_gaps,
    surrogate_loss,
)
from lamaml_jax.analysis.statistics import (
    Equivalence,
    PairedTest,
    Summary,
    equivalence_to_published,
    holm,
    paired_test,
    summarise,
)

__all__ = [
    "Alignment",
    "Equivalence",
    "Gaps",
    "OldAndNew",
    "PairedTest",
    "Summary",
    "equivalence_to_published",
    "gradient_alignment",
    "holm",
    "log_log_slope",
    "meta_gradient_gaps",
    "old_and_new",
    "paired_test",
    "summarise",
    "surrogate_loss",
]
