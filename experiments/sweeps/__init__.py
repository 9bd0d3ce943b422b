"""Sweeps: many settings of one learner, as few compiled programs as there are structures among them."""
