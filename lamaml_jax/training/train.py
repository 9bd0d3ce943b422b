"""Training as one function: arrays in, a `Result` out. The scripts' runner is built on it.

Dimensions: R runs (seeds, point by point), B batch, C classes.
"""

import itertools
import math
import numbers
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lamaml_jax import checkpoint, checks
from lamaml_jax.loop import make_run
from lamaml_jax.streams import Benchmark
from lamaml_jax.training import recording, saving
from lamaml_jax.training.clock import Clock
from lamaml_jax.training.fingerprints import digest, of_probe
from lamaml_jax.training.pace import Pace
from lamaml_jax.training.planning import Plan, plan, state_shapes
from lamaml_jax.training.planning.fitting import example
from lamaml_jax.training.program import Probe, compile_runs
from lamaml_jax.training.progress import OnTask
from lamaml_jax.training.result import Result
from lamaml_jax.training.runs import Factory, Point
from lamaml_jax.training.stages import Eval, Hooks, Stages
from lamaml_jax.types import Loss, Model, State


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
    before_checkpoint: Callable[[], object] | None = None,
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
        probe: What is measured as each task arrives, just before it is learnt, and kept in the record: a dict of
            arrays by names of its own.
        on_task: Called at each `Progress`; training ends early where it returns True.
        checkpoint_dir: Folder for the state after the last task learnt, from which the same call goes on, to the same
            bits; None keeps none.
        checkpoint_seconds: After how many seconds on `clock`, which must be given then, the state is kept inside a task
            as well.
        before_checkpoint: Called before each state is kept; where it raises an error, training ends, and none is kept.
        should_stop: Asked inside tasks and after each; where it says yes, the state is kept and `Interrupted` raised.
        devices: Over which runs are spread; all by default.
        clock: Such as `training.Clock(time.perf_counter)`; keeps how many seconds compiling, training and evaluating
            take, in checkpoints too. None measures no time.
        **settings: The learner's keywords; a float that is a list is an axis of a sweep.

    Returns:
        What was measured, and the trained learners. A run that diverged is marked, takes no other down, and is named
        with its task where the result is shown: smaller rates, or a `clip_norm`, may help. A loss without a bound, such
        as the squares of regression, takes smaller rates than cross-entropy.

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
    hooks = Hooks(probe, on_task, should_stop, before_checkpoint)
    _check(eval, eval_batch, points, hooks, checkpoint_dir, checkpoint_seconds, clock, devices)
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
    if start is not None:
        _check_start(start, planned)
        planned = planned._replace(start=digest(start))
    folder = None if checkpoint_dir is None else pathlib.Path(checkpoint_dir)
    functions = make_run(planned.stream, planned.build, eval_batch=eval_batch)
    if probe is not None:
        recording.check_probe(probe, functions, planned)
    if folder is not None:
        probed_by = None if probe is None else of_probe(probe, functions, planned)
        evaluation = {"eval": eval, "eval_batch": eval_batch, saving.PROBE: probed_by}
        saving.claim(folder, planned, evaluation)
    clock = Clock() if clock is None else clock
    in_parts = should_stop is not None or (folder is not None and checkpoint_seconds is not None)
    # A task that was left in the middle goes on there, whatever this call asks for.
    begun = folder is not None and any(place.batches for place in checkpoint.saved(folder))
    program = compile_runs(functions, planned, clock, devices=devices, in_parts=in_parts or begun)
    state = program.start if start is None else program.load(start)
    probed = {} if probe is None else program.measure(probe, state, planned.learnt[0])
    record = recording.empty(planned, program, state, probed)
    stages = Stages(planned, program, hooks, eval, folder, clock, state, record)
    stages.go(Pace(clock, checkpoint_seconds) if in_parts else None)
    recording.note_names(stages.record, planned, stages.state)
    return Result(planned, stages.record, program.save(stages.state))


def _check(
    eval: Eval,
    eval_batch: int,
    points: Sequence[Point] | None,
    hooks: Hooks,
    checkpoint_dir: str | pathlib.Path | None,
    checkpoint_seconds: float | None,
    clock: Clock | None,
    devices: Sequence[jax.Device] | None,
) -> None:
    checks.choice("eval", eval, Eval)
    checks.integer("eval_batch", eval_batch, 1)
    if points is not None and not _is_of(points, Mapping):
        raise ValueError(
            f"points is {points!r:.60}; it must be a list of settings by name, or None."
        )
    for name, hook in hooks._asdict().items():
        if hook is not None and not callable(hook):
            raise ValueError(f"{name} is {hook!r:.60}; it must be {_HOOKS[name]}, or None.")
    if checkpoint_dir is not None and not _can_be_folder(checkpoint_dir):
        raise ValueError(
            f"checkpoint_dir is {checkpoint_dir!r}; it must be the path of a folder, or None."
        )
    if clock is not None and not isinstance(clock, Clock):
        raise ValueError(
            f"clock is {clock!r:.60}; it must be a Clock, such as training.Clock(time.perf_counter), or None."
        )
    if checkpoint_seconds is not None and not _is_duration(checkpoint_seconds):
        raise ValueError(
            f"checkpoint_seconds is {checkpoint_seconds!r:.60}; it must be a finite number of at least 0, or None."
        )
    if checkpoint_seconds is not None and clock is None:
        raise ValueError(
            f"checkpoint_seconds is {checkpoint_seconds}; clock must be given then, such as "
            "training.Clock(time.perf_counter), as the library reads no clock by itself."
        )
    if devices is not None and not (_is_of(devices, jax.Device) and len(devices)):
        raise ValueError(
            f"devices is {devices!r:.60}; it must be a list of devices, of which jax.devices() has all, or None."
        )


def _is_of(values: Any, kind: type) -> bool:
    """Return whether these are values of a kind, in a list or the like."""
    is_list = isinstance(values, Collection) and not isinstance(values, Mapping)
    return is_list and all(isinstance(value, kind) for value in values)


def _can_be_folder(path: Any) -> bool:
    is_path = isinstance(path, str | pathlib.Path)
    return is_path and (not pathlib.Path(path).exists() or pathlib.Path(path).is_dir())


def _is_duration(value: Any) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf


_HOOKS = {
    "probe": "a function of seed, stream, state, images and task",
    "on_task": "a function of a Progress",
    "should_stop": "a function of nothing that returns a bool",
    "before_checkpoint": "a function of nothing",
}


def _check_start(start: State, planned: Plan) -> None:
    """Raise ValueError unless states to start from are of this learner, network and number of runs."""
    wanted = state_shapes(planned, example(planned.stream))
    found, allowed = (
        [(jax.tree_util.keystr(path), _kind(leaf)) for path, leaf in leaves]
        for leaves in map(jax.tree_util.tree_leaves_with_path, (start, wanted))
    )
    for one, other in itertools.zip_longest(found, allowed):
        if one != other:
            raise ValueError(
                f"start has {_said(one)} where a state of this learner and its runs has {_said(other)}; it must be "
                "such a state, as Result.state is."
            )
    trees: list[Any] = [jax.tree.structure(tree) for tree in (start, wanted)]
    if trees[0] != trees[1]:
        names = [type(tree).__name__ for tree in (start, wanted)]
        raise ValueError(
            f"start is a {names[0]} of another tree than this learner's state, a {names[1]}; it must be such a state, "
            "as Result.state is."
        )


def _kind(leaf: Any) -> str:
    """Return the shape of an array, or what is as good as one, and its dtype as JAX would take it."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    if not jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    return f"{dtype}[{','.join(map(str, np.shape(leaf)))}]"


def _said(leaf: tuple[str, str] | None) -> str:
    return "nothing" if leaf is None else f"state{leaf[0]} of {leaf[1]}"
