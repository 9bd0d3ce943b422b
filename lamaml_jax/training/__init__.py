"""Training as one function: runs on their devices, what they measure, and what is kept of them."""

from lamaml_jax.training.clock import Clock
from lamaml_jax.training.packaged import load_packaged_la_maml
from lamaml_jax.training.planning import Plan, plan
from lamaml_jax.training.program import Probe
from lamaml_jax.training.progress import Interrupted, OnTask, Progress
from lamaml_jax.training.result import Result
from lamaml_jax.training.runs import Factory, Point, Runs
from lamaml_jax.training.stages import Eval
from lamaml_jax.training.train import train

load = Result.load

__all__ = [
    "Clock",
    "Eval",
    "Factory",
    "Interrupted",
    "OnTask",
    "Plan",
    "Point",
    "Probe",
    "Progress",
    "Result",
    "Runs",
    "load",
    "load_packaged_la_maml",
    "plan",
    "train",
]
