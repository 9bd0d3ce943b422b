"""Every learner by name: factories `factory(model, setting, *, ...) -> Learner`."""

from collections.abc import Callable

from lamaml_jax.learners.bgd import bgd
from lamaml_jax.learners.c_maml import c_maml
from lamaml_jax.learners.er import er
from lamaml_jax.learners.ewc import ewc
from lamaml_jax.learners.fs_dgpm import fs_dgpm
from lamaml_jax.learners.gem import agem, gem
from lamaml_jax.learners.hat import hat
from lamaml_jax.learners.icarl import icarl
from lamaml_jax.learners.la_der import la_der
from lamaml_jax.learners.la_er import la_er
from lamaml_jax.learners.la_maml import la_maml
from lamaml_jax.learners.mer import mer
from lamaml_jax.learners.meta_bgd import meta_bgd
from lamaml_jax.learners.online import iid, online
from lamaml_jax.learners.sync_la_maml import sync_la_maml
from lamaml_jax.learners.ucb import ucb
from lamaml_jax.types import Learner

LEARNERS: dict[str, Callable[..., Learner]] = {
    "la_maml": la_maml,
    "sync_la_maml": sync_la_maml,
    "c_maml": c_maml,
    "la_der": la_der,
    "la_er": la_er,
    "er": er,
    "ewc": ewc,
    "gem": gem,
    "agem": agem,
    "fs_dgpm": fs_dgpm,
    "icarl": icarl,
    "mer": mer,
    "online": online,
    "iid": iid,
    "bgd": bgd,
    "meta_bgd": meta_bgd,
    "ucb": ucb,
    "hat": hat,
}

__all__ = [
    "LEARNERS",
    "agem",
    "bgd",
    "c_maml",
    "er",
    "ewc",
    "fs_dgpm",
    "gem",
    "hat",
    "icarl",
    "iid",
    "la_der",
    "la_er",
    "la_maml",
    "mer",
    "meta_bgd",
    "online",
    "sync_la_maml",
    "ucb",
]
