"""The host loop over tasks as one function: arrays in, a `Result` out. The scripts' runner is built on it.

Dimensions: R runs (seeds, point by point), S stages (the tasks that are learnt, in order), T tasks.
"""

import itertools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import numpy as np

from lamaml_jax import checkpoint, checks, metrics
from lamaml_jax.loop import TaskLog, make_run
from lamaml_jax.streams import Benchmark
from lamaml_jax.training import recording, saving
from lamaml_jax.training.planning import Factory, Plan, plan
from lamaml_jax.training.program import Clock, Probe, Program, compile_runs
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
        devices: Over which runs are spread; all by default.
        clock: Keeps how long compiling, training and evaluating take, in checkpoints too; None measures no time.
        **settings: The learner's keywords; a float that is a list is an axis of a sweep.

    Returns:
        What was measured, and the trained learners. A run that diverged is marked, and takes no other down.

    Raises:
        ValueError: In one sentence, what is wrong with which argument, before anything is compiled; or what a
            checkpoint is of, if not of these runs.

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
        saving.claim(folder, planned)
    clock = Clock() if clock is None else clock
    functions = make_run(planned.stream, planned.build, eval_batch=eval_batch)
    program = compile_runs(functions, planned, clock, devices=devices)
    state = program.start if start is None else program.load(_like(start, program))
    probed = {} if probe is None else program.measure(probe, state, planned.learnt[0])
    record, done = recording.empty(planned, program, probed), 0

    def evaluate(state: State, row: int, first: int, stop: int) -> None:
        with clock.on("eval"):
            values = program.evaluate(state, first, stop)
        recording.note_evaluation(record, planned, values, row, first, stop)

    def snapshot() -> dict[str, Any]:
        return {"state": program.save(state), "record": record, "clock": dict(clock)}

    if folder is not None and (saved := checkpoint.restore(folder, snapshot())):
        done, tree = saved
        state, record = program.load(tree["state"]), tree["record"]
        clock.update(tree["clock"])
    else:
        evaluate(state, 0, 0, planned.stream.setting.num_tasks)
    stopped = _tell(on_task, planned, program, record, state, done)
    while done < len(planned.rows) and not stopped and not record["diverged"].all():
        if probe is not None:
            recording.note(record, program.measure(probe, state, planned.learnt[done]), done)
        state, log = _learn(planned, program, record, clock, state, done)
        recording.note_training(record, log, done)
        evaluate(state, planned.rows[done], *_evaluated(planned, eval, done))
        done += 1
        stopped = _tell(on_task, planned, program, record, state, done)
        if folder is not None:
            checkpoint.save(folder, done, snapshot())
    if "rate_mean" in record:
        record["layer_names"] = np.array(metrics.layer_names(state.lrs))
    if planned.inside:
        record["inside_batches"] = np.array(planned.inside)
    return Result(planned, record, program.save(state))


def _evaluated(planned: Plan, eval: Eval, stage: int) -> tuple[int, int]:
    """Return the tasks that are evaluated after a stage: from the first up to the last."""
    num_tasks = planned.stream.setting.num_tasks
    if planned.rows[stage] == num_tasks or planned.tasks() != planned.all_tasks():
        return 0, num_tasks
    # LA takes the task just learnt, FWT the next one, the picture of all tasks' accuracies those seen so far.
    return {"all": (0, num_tasks), "seen": (0, stage + 2), "needed": (stage, stage + 2)}[eval]


def _learn(
    planned: Plan, program: Program, record: Record, clock: Clock, state: State, stage: int
) -> tuple[State, TaskLog]:
    """Train through a stage, and evaluate inside it where that is asked for."""
    parts = program.train(state, stage)
    in_order = planned.tasks() == planned.all_tasks()
    seen = stage + 1 if in_order else len(planned.all_tasks())
    for evaluation in itertools.count():
        with clock.on("train"):
            state, log = jax.block_until_ready(next(parts))
        if log is not None:
            break
        with clock.on("eval"):
            values = program.evaluate(state, 0, seen)
        record[f"inside_{recording.evaluated(planned)}"][:, stage, evaluation] = values
    return state, log


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
