"""La-MAML, look-ahead meta-learning for continual learning, and its baselines as pure JAX functions."""

from lamaml_jax import losses, metrics, networks, replay, storage, streams
from lamaml_jax.learners import (
    LEARNERS,
    agem,
    bgd,
    c_maml,
    er,
    ewc,
    fs_dgpm,
    gem,
    hat,
    icarl,
    iid,
    la_der,
    la_er,
    la_maml,
    mer,
    meta_bgd,
    online,
    sync_la_maml,
    ucb,
)
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.projection import project_agem, project_gem
from lamaml_jax.pieces import split
from lamaml_jax.training import Progress, Result, load, load_packaged_la_maml, train
from lamaml_jax.types import Batch, Learner, Model, Setting
from lamaml_jax.updates import descend, hypergradients, lookahead, meta_objective, modulated_step
from lamaml_jax.validation import check_batch

__version__ = "0.1.0"

__all__ = [
    "LEARNERS",
    "Batch",
    "Learner",
    "Model",
    "Progress",
    "Result",
    "Setting",
    "agem",
    "bgd",
    "c_maml",
    "check_batch",
    "descend",
    "er",
    "ewc",
    "fs_dgpm",
    "gem",
    "hat",
    "hypergradients",
    "icarl",
    "iid",
    "la_der",
    "la_er",
    "la_maml",
    "learner_factory",
    "load",
    "load_packaged_la_maml",
    "lookahead",
    "losses",
    "mer",
    "meta_bgd",
    "meta_objective",
    "metrics",
    "modulated_step",
    "networks",
    "online",
    "project_agem",
    "project_gem",
    "replay",
    "split",
    "storage",
    "streams",
    "sync_la_maml",
    "train",
    "ucb",
]
