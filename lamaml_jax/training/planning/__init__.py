"""What is to be trained, and whether it can be: settings, network, stream and method are checked before the work."""

from lamaml_jax.training.planning.plans import Plan, plan, state_shapes

__all__ = ["Plan", "plan", "state_shapes"]
