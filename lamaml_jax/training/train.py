"""The host loop over tasks as one function: arrays in, a `Result` out. The scripts' runner is built on it.

Dimensions: R runs (seeds, point by point), S stages (the tasks that are learnt, in order), T tasks.
"""

import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import numpy as np

from lamaml_jax import checkpoint, checks, metrics
from lamaml_jax.checkpoint import Place
from lamaml_jax.loop import make_run
from lamaml_jax.streams import Benchmark
from lamaml_jax.training import recording, saving
from lamaml_jax.training.pace import Pace
from lamaml_jax.training.planning import Factory, Plan, plan
from lamaml_jax.training.program import Clock, Part, Probe, Program, compile_runs
from lamaml_jax.training.recording import Record
from lamaml_jax.training.result import Result
from lamaml_jax.training.runs import Point
from lamaml_jax.types import Loss, Model, State

Eval: TypeAlias = Literal["all", "seen", "needed"]


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


OnTask: TypeAlias = Callable[[Progress], object]
"""What to do at each `Progress`; training ends early where it returns True."""


def train(
    learner: Factory,
    model: Model,
    stream: Benchmark,
    *,
    seeds: Iterable[int] = (0,),
    points: Sequence[Point] | None = None,
    stream_seed: int | None = None,
    loss: Loss | None = None,
    eval: Eval = "all",
    eval_every: int | None = None,
    eval_batch: int = 1000,
    start: State | None = None,
    probe: Probe | None = None,
    on_task: OnTask | None = None,
    checkpoint_dir: str | pathlib.Path | None = None,
    checkpoint_seconds: float | None = None,
    should_stop: Callable[[], bool] | None = None,
    devices: Sequence[jax.Device] | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> Result:
    """Train a learner on a stream of tasks, many runs in one compiled program, and evaluate it after every task.

    A run's numbers depend on its seed and settings alone, not on the runs beside it; on CPU to the last bit. Nothing is
    printed.

    Args:
        learner: A factory, such as `la_maml`, or one of your own.
        model: The network, with as many outputs as the stream has classes.
        stream: Such as `streams.from_arrays` returns.
        seeds: One run each, at every point.
        points: Float settings by name, and a `stream_seed`, that set the points of a sweep apart; None stands for the
            product of those `settings` that are lists.
        stream_seed: Draws the one stream of all runs, where streams are drawn; None has every seed draw its own.
        loss: What is minimised of every example, `loss(outputs [B, C], y [B, ...]) -> [B]`, instead of the
            cross-entropy; its mean then stands in place of accuracies.
        eval: After every task, evaluate "all" tasks, those "seen" so far and the next, or only those that RA, LA, BTI
            and FWT "needed"; all where tasks do not come in order.
        eval_every: Incoming batches after which the tasks seen are evaluated inside each task as well.
        eval_batch: Examples that are evaluated at once.
        start: States to start from, with the axis of runs first, such as `Result.state`; None starts anew.
        probe: What is measured as each task arrives, just before it is learnt, and kept in the record.
        on_task: Called at each `Progress`; training ends early where it returns True.
        checkpoint_dir: Folder for the state after the last task learnt, from which the same call goes on, to the same
            bits; None keeps none.
        checkpoint_seconds: After how many seconds on `clock` the state is kept inside a task as well.
        should_stop: Asked inside tasks and after each; where it says yes, the state is kept and `Interrupted` raised.
        devices: Over which runs are spread; all by default.
        clock: Keeps how long compiling, training and evaluating take, in checkpoints too; None measures no time.
        **settings: The learner's keywords; a float that is a list is an axis of a sweep.

    Returns:
        What was measured, and the trained learners. A run that diverged is marked, and takes no other down.

    Raises:
        ValueError: In one sentence, what is wrong with which argument, before anything is compiled; or what a
            checkpoint is of, if not of these runs.
        Interrupted: `should_stop` said so.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import er, networks, streams, train
        >>> rng, labels = np.random.default_rng(0), np.arange(60) % 3
        >>> centres = rng.normal(size=(2, 3, 5))  # two tasks of three classes
        >>> tasks = [(c[labels] + 0.1 * rng.normal(size=(60, 5)), labels) for c in centres]
        >>> stream = streams.from_arrays(tasks, tasks, heads="per_task", epochs=5)
        >>> result = train(
        ...     er, networks.mlp(6, hidden=(16,)), stream, seeds=range(2), lr=[0.03, 0.1]
        ... )
        >>> result.accuracy.shape, bool(result.accuracy[2:, -1].min() > 0.8)
        ((4, 3, 2), True)
    """
    checks.choice("eval", eval, Eval)
    checks.integer("eval_batch", eval_batch, 1)
    if on_task is not None and not callable(on_task):
        raise ValueError(f"on_task is {on_task!r}; it must be a function of a Progress, or None.")
    if devices is not None and not len(devices):
        raise ValueError("devices is empty; it must hold a device, or be None.")
    planned = plan(
        learner,
        model,
        stream,
        seeds=seeds,
        points=points,
        stream_seed=stream_seed,
        loss=loss,
        eval_every=eval_every,
        settings=settings,
    )
    folder = None if checkpoint_dir is None else pathlib.Path(checkpoint_dir)
    if folder is not None:
        saving.claim(folder, planned, {"eval": eval, "eval_batch": eval_batch})
    clock = Clock() if clock is None else clock
    functions = make_run(planned.stream, planned.build, eval_batch=eval_batch)
    in_parts = should_stop is not None or (folder is not None and checkpoint_seconds is not None)
    program = compile_runs(functions, planned, clock, devices=devices, in_parts=in_parts)
    state = program.start if start is None else program.load(_like(start, program))
    probed = {} if probe is None else program.measure(probe, state, planned.learnt[0])
    record, place = recording.empty(planned, program, probed), Place(0)
    pace = Pace(clock, checkpoint_seconds) if in_parts else None

    def evaluate(first: int, stop: int) -> np.ndarray:
        with clock.on("eval"):
            return program.evaluate(state, first, stop)

    def snapshot() -> dict[str, Any]:
        return {"state": program.save(state), "record": record, "clock": dict(clock)}

    def save() -> None:
        if folder is not None:
            checkpoint.save(folder, place, snapshot())

    if folder is not None and (saved := checkpoint.restore(folder, snapshot())):
        place, tree = saved
        state, record = program.load(tree["state"]), tree["record"]
        clock.update(tree["clock"])
    else:
        tasks = (0, planned.stream.setting.num_tasks)
        recording.note_evaluation(record, planned, evaluate(*tasks), 0, *tasks)
    stopped = _tell(on_task, planned, program, record, state, place.stage)
    while place.stage < len(planned.rows) and not stopped and not record["diverged"].all():
        stage = place.stage
        if probe is not None and not place.batches:
            recording.note(record, program.measure(probe, state, planned.learnt[stage]), stage)
        parts = program.train(state, stage, place.batches, pace.most if pace else _any_number)
        for part in _timed(parts, clock):
            state = part.state
            recording.note_part(record, part, stage)
            if part.end is not None:
                continue
            place = Place(stage, part.stop)
            if part.stop in planned.inside:
                inside = planned.inside.index(part.stop)
                recording.note_inside(
                    record, planned, evaluate(0, _seen(planned, stage)), stage, inside
                )
            if pace and pace.is_due(part.stop - part.first):
                save()
            if should_stop is not None and should_stop():
                save()
                raise Interrupted(place, folder)
        tasks = _evaluated(planned, eval, stage)
        recording.note_evaluation(record, planned, evaluate(*tasks), planned.rows[stage], *tasks)
        place = Place(stage + 1)
        try:
            stopped = _tell(on_task, planned, program, record, state, place.stage)
        finally:
            save()
        if should_stop is not None and should_stop():
            raise Interrupted(place, folder)
    if "rate_mean" in record:
        record["layer_names"] = np.array(metrics.layer_names(state.lrs))
    if planned.inside:
        record["inside_batches"] = np.array(planned.inside)
    return Result(planned, record, program.save(state))


def _evaluated(planned: Plan, eval: Eval, stage: int) -> tuple[int, int]:
    """Return the tasks that are evaluated after a stage: from the first up to the last."""
    num_tasks = planned.stream.setting.num_tasks
    if planned.rows[stage] == num_tasks or not planned.is_in_order():
        return 0, num_tasks
    # LA takes the task just learnt, FWT the next one, the picture of all tasks' accuracies those seen so far.
    return {"all": (0, num_tasks), "seen": (0, stage + 2), "needed": (stage, stage + 2)}[eval]


def _seen(planned: Plan, stage: int) -> int:
    """Return up to which task there are evaluations inside a stage."""
    return stage + 1 if planned.is_in_order() else len(planned.all_tasks())


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


def _tell(
    on_task: OnTask | None,
    planned: Plan,
    program: Program,
    record: Record,
    state: State,
    done: int,
) -> bool:
    """Say how far training is; return whether to stop there."""
    if on_task is None:
        return False

    def measure(probe: Probe, task: int) -> dict[str, np.ndarray]:
        return program.measure(probe, state, task)

    infos = tuple(sorted(program.log.infos))
    return on_task(Progress(done, planned.rows, infos, record, state, measure)) is True


def _like(start: State, program: Program) -> State:
    """Return the states to start from, if they are of this learner, network and number of runs."""
    shapes = jax.tree.map(np.shape, start)
    wanted = jax.tree.map(np.shape, program.save(program.start))
    if shapes != wanted:
        raise ValueError(
            f"start has arrays of shapes {shapes}; they must be those of this learner and its runs, {wanted}."
        )
    return start
