"""The host loop: what is trained, evaluated, told and kept, stage by stage.

Dimensions: R runs, S stages (the tasks that are learnt, in order), T tasks.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import numpy as np

from lamaml_jax import checkpoint
from lamaml_jax.checkpoint import Place
from lamaml_jax.training import recording
from lamaml_jax.training.clock import Clock
from lamaml_jax.training.pace import Pace
from lamaml_jax.training.planning import Plan
from lamaml_jax.training.program import Part, Probe, Program
from lamaml_jax.training.progress import Interrupted, OnTask, Progress
from lamaml_jax.training.recording import Record
from lamaml_jax.types import State

Eval: TypeAlias = Literal["all", "seen", "needed"]


class Hooks(NamedTuple):
    """What is called on the way, as `train` takes it."""

    probe: Probe | None = None
    on_task: OnTask | None = None
    should_stop: Callable[[], bool] | None = None
    before_checkpoint: Callable[[], object] | None = None


@dataclasses.dataclass
class Stages:
    """Runs on their way through the stages.

    Attributes:
        planned: What is trained.
        program: All runs, compiled.
        hooks: Called on the way.
        eval: Which tasks are evaluated after each stage.
        folder: Where the state is kept; None keeps none.
        clock: Keeps how long training and evaluating take.
        state: The learners' states, on the devices.
        record: What was measured so far.
        place: Where the runs are.
    """

    planned: Plan
    program: Program
    hooks: Hooks
    eval: Eval
    folder: pathlib.Path | None
    clock: Clock
    state: State
    record: Record
    place: Place = Place(0)

    def go(self, pace: Pace | None) -> None:
        """Learn from the last state that was kept up to the last stage, or to where `on_task` says that it is enough.

        Args:
            pace: How many batches are trained in one call; None takes as many as can be.

        Raises:
            Interrupted: `should_stop` said so.
        """
        if not self._restore():
            self._evaluate(0, (0, self.planned.stream.setting.num_tasks))
        is_enough = False if self.place.batches else self._tell()
        while not (is_enough or self._is_over()):
            stage = self.place.stage
            self._measure_arriving(stage)
            self._learn(stage, pace)
            self._evaluate(self.planned.rows[stage], _evaluated(self.planned, self.eval, stage))
            self.place = Place(stage + 1)
            try:
                is_enough = self._tell()
            finally:
                self._keep()
            if self._is_asked_to_stop():
                raise Interrupted(self.place, self.folder)

    def _is_over(self) -> bool:
        return self.place.stage == len(self.planned.rows) or bool(self.record["diverged"].all())

    def _measure_arriving(self, stage: int) -> None:
        """Measure what the probe finds as a stage's task arrives."""
        if self.hooks.probe is not None and not self.place.batches:
            task = self.planned.learnt[stage]
            found = self.program.measure(self.hooks.probe, self.state, task)
            recording.note(self.record, found, stage)

    def _learn(self, stage: int, pace: Pace | None) -> None:
        """Train on what is left of a stage; between two parts evaluate, keep the state, or stop, as is asked for."""
        most = pace.most if pace else _any_number
        parts = self.program.train(self.state, stage, self.place.batches, most)
        for part in _timed(parts, self.clock):
            self.state = part.state
            recording.note_part(self.record, part, stage)
            if part.end is not None:
                return
            self.place = Place(stage, part.stop)
            self._evaluate_inside()
            if pace and pace.is_due(part.stop - part.first):
                self._keep()
            if self._is_asked_to_stop():
                self._keep()
                raise Interrupted(self.place, self.folder)

    def _evaluate(self, row: int, tasks: tuple[int, int]) -> None:
        """Enter evaluations of tasks, from the first up to the last, into a row of the accuracy matrix."""
        with self.clock.on("eval"):
            values = self.program.evaluate(self.state, *tasks)
        recording.note_evaluation(self.record, self.planned, values, row, *tasks)

    def _evaluate_inside(self) -> None:
        """Enter evaluations of the tasks seen, where there are to be some after these batches."""
        planned, (stage, batches) = self.planned, self.place
        if batches in planned.inside:
            seen = stage + 1 if planned.is_in_order() else len(planned.all_tasks())
            with self.clock.on("eval"):
                values = self.program.evaluate(self.state, 0, seen)
            index = planned.inside.index(batches)
            recording.note_inside(self.record, planned, values, stage, index)

    def _tell(self) -> bool:
        """Say how far training is; return whether that is enough."""
        if self.hooks.on_task is None:
            return False
        program, state = self.program, self.state

        def probe(function: Probe, task: int) -> dict[str, np.ndarray]:
            return program.measure(function, state, task)

        infos = tuple(sorted(program.log.infos))
        done, rows = self.place.stage, self.planned.rows
        progress = Progress(done, rows, infos, self.record, state, probe)
        return _is_true(self.hooks.on_task(progress))

    def _is_asked_to_stop(self) -> bool:
        return self.hooks.should_stop is not None and self.hooks.should_stop()

    def _keep(self) -> None:
        if self.folder is not None:
            if self.hooks.before_checkpoint is not None:
                self.hooks.before_checkpoint()
            checkpoint.save(self.folder, self.place, self._snapshot())

    def _restore(self) -> bool:
        """Go to where the last state was kept; return whether there is one."""
        if self.folder is None:
            return False
        # States that were written before they always had a clock lack it.
        like = {**self._snapshot(), "clock": dict.fromkeys(self.clock, 0.0)}
        if not (saved := checkpoint.restore(self.folder, like, optional=("clock",))):
            return False
        self.place, tree = saved
        self.state, self.record = self.program.load(tree["state"]), tree["record"]
        self.clock.update(tree["clock"])
        return True

    def _snapshot(self) -> dict[str, Any]:
        state = self.program.save(self.state)
        return {"state": state, "record": self.record, "clock": dict(self.clock)}


def _evaluated(planned: Plan, eval: Eval, stage: int) -> tuple[int, int]:
    """Return the tasks that are evaluated after a stage: from the first up to the last."""
    num_tasks = planned.stream.setting.num_tasks
    if planned.rows[stage] == num_tasks or not planned.is_in_order():
        return 0, num_tasks
    # LA takes the task just learnt, FWT the next one, the picture of all tasks' accuracies those seen so far.
    return {"all": (0, num_tasks), "seen": (0, stage + 2), "needed": (stage, stage + 2)}[eval]


def _is_true(said: Any) -> bool:
    """Return whether `on_task` says True, be it Python's, NumPy's or JAX's."""
    if getattr(said, "dtype", None) != np.dtype(bool):
        return said is True
    if said.shape:
        raise ValueError(
            f"on_task returns bools of shape {said.shape}; it must return one, such as their all() or any()."
        )
    return bool(said)


def _timed(parts: Iterator[Part], clock: Clock) -> Iterator[Part]:
    """Yield the parts, once they are computed."""
    while True:
        with clock.on("train"):
            part = next(parts, None)
            jax.block_until_ready(None if part is None else part.state)
        if part is None:
            return
        yield part


def _any_number() -> int:
    return sys.maxsize
