"""Training as one function: runs on their devices, what they measure, and what is kept of them."""

from lamaml_jax.training.packaged import load_packaged_la_maml
from lamaml_jax.training.planning import Factory, Plan, plan
from lamaml_jax.training.program import Clock, Probe
from lamaml_jax.training.result import Result
from lamaml_jax.training.runs import Point, Runs
from lamaml_jax.training.train import Eval, Interrupted, OnTask, Progress, train

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
