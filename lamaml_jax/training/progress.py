"""What training tells on the way, and how it is told to stop."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from lamaml_jax import parallel
from lamaml_jax.checkpoint import Place
from lamaml_jax.training.program import Probe
from lamaml_jax.training.recording import Record
from lamaml_jax.types import State


class Progress(NamedTuple):
    """How far training is, once before the first task and once after each.

    Training that goes on between two tasks tells the last of these again; inside a task it tells nothing before the
    task's end.

    Attributes:
        done: How many stages have been learnt.
        rows: The row of the accuracy matrix that is evaluated after each stage `[S]`.
        infos: The names of what the learner reports of each batch.
        record: What was measured so far, to be read: see `recording`.
        state: The learners' states on the devices, with the axis of runs first, padded to a multiple of the devices.
        probe: `probe(function, task) -> values [R, ...]` by name: what a `Probe`, which sees a task's data as well,
            finds at these states. It is compiled once, so that it must be pure, and the same object each time.
    """

    done: int
    rows: tuple[int, ...]
    infos: tuple[str, ...]
    record: Record
    state: State
    probe: Callable[[Probe, int], dict[str, np.ndarray]]

    @property
    def row(self) -> int:
        """The row of the accuracy matrix that was evaluated last."""
        return self.rows[self.done - 1] if self.done else 0

    def measure(self, function: Callable[[State], Any]) -> Any:
        """Return what a function finds at the state of every run.

        Args:
            function: Pure; `function(state)` of one run returns an array, or a dict or any other tree of arrays.

        Returns:
            The same with the axis of runs first `[R, ...]`, on the host.

        Example:
            >>> import numpy as np
            >>> from lamaml_jax import la_maml, networks, streams, train
            >>> task = np.eye(20, 3, dtype=np.float32), np.arange(20) % 3
            >>> def show(progress):
            ...     rates = progress.measure(lambda state: state.lrs["Dense_0"]["kernel"].mean())
            ...     print(progress.done, rates.shape)
            >>> stream = streams.from_arrays([task], [task])
            >>> model = networks.mlp(3, hidden=(4,))
            >>> result = train(la_maml, model, stream, seeds=range(2), on_task=show)
            0 (2,)
            1 (2,)
        """
        found = jax.vmap(function)(self.state)
        return parallel.collect(found, len(self.record["seeds"]))


OnTask: TypeAlias = Callable[[Progress], object]
"""What to do at each `Progress`; training ends early where it returns True, NumPy's and JAX's included."""


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
