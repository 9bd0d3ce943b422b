"""What training tells on the way, and how it is told to stop."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from lamaml_jax.checkpoint import Place
from lamaml_jax.training.program import Probe
from lamaml_jax.training.recording import Record
from lamaml_jax.types import State


class Progress(NamedTuple):
    """How far training is, once before the first task and once after each.

    Attributes:
        done: How many stages have been learnt.
        rows: The row of the accuracy matrix that is evaluated after each stage `[S]`.
        infos: The names of what the learner reports of each batch.
        record: What was measured so far, to be read: see `recording`.
        state: The learners' states on the devices, with the axis of runs first, padded to a multiple of the devices.
        measure: `measure(function, task) -> values [R, ...]` by name: what a function of one run, `function(seed,
            stream, state, images, task) -> values by name`, finds at these states. It is compiled once, so that it must
            be pure, and the same object each time.
    """

    done: int
    rows: tuple[int, ...]
    infos: tuple[str, ...]
    record: Record
    state: State
    measure: Callable[[Probe, int], dict[str, np.ndarray]]

    @property
    def row(self) -> int:
        """The row of the accuracy matrix that was evaluated last."""
        return self.rows[self.done - 1] if self.done else 0


OnTask: TypeAlias = Callable[[Progress], object]
"""What to do at each `Progress`; training ends early where it returns True."""


class Interrupted(Exception):
    """Training was told to stop.

    Attributes:
        place: Where it is.
        folder: Where the state is kept; None where it is lost.
    """

    def __init__(self, place: Place, folder: pathlib.Path | None) -> None:
        """Say where."""
        super().__init__(f"interrupted after {place.stage} tasks and {place.batches} batches")
        self.place, self.folder = place, folder
