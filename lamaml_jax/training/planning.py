"""What is to be trained, checked before anything is compiled.

Dimensions: R runs (seeds, point by point), S stages (the tasks that are learnt, in order), T tasks, C classes.
"""

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp

from lamaml_jax import checks, hyper, networks
from lamaml_jax.loop import Hyper
from lamaml_jax.streams import Benchmark
from lamaml_jax.training.runs import Point, Runs
from lamaml_jax.types import Batch, Learner, Loss, Model, Setting

Factory: TypeAlias = Callable[..., Learner]
"""`factory(model, setting, *, ...) -> Learner`, whose keyword-only signature is the method's configuration."""


class Plan(NamedTuple):
    """What is to be trained.

    Attributes:
        learner: Its factory.
        model: The network.
        stream: The tasks.
        runs: Which runs there are.
        static: The learner's settings that are the same for all runs and shape the program.
        learnt: The row of the stream's training data that is learnt in each stage `[S]`.
        rows: The row of the accuracy matrix that is evaluated after each stage `[S]`.
        inside: After how many batches of a task there are evaluations inside it, ascending.
    """

    learner: Factory
    model: Model
    stream: Benchmark
    runs: Runs
    static: Mapping[str, Any]
    learnt: tuple[int, ...]
    rows: tuple[int, ...]
    inside: tuple[int, ...] = ()

    def build(self, floats: Hyper) -> Learner:
        """Return the learner with these floats, which may be traced."""
        return self.learner(self.model, self.stream.setting, **self.static, **floats)

    def tasks(self) -> tuple[int, ...] | None:
        """Return the tasks in the order in which they are learnt, None where they come mixed in a sequence."""
        if self.stream.is_sequence:
            return None
        return self.all_tasks() if self.is_mixed() else self.learnt

    def is_mixed(self) -> bool:
        """Return whether all tasks are learnt at once."""
        return len(self.rows) < self.rows[-1]

    def is_in_order(self) -> bool:
        """Return whether all tasks are learnt as they are counted, so that those seen are the first ones."""
        return self.tasks() == self.all_tasks()

    def num_batches(self, stage: int) -> int:
        """Return how many batches arrive in a stage, over all epochs."""
        if not self.is_mixed():
            return self.stream.num_batches(self.learnt[stage])
        setting, sizes = self.stream.setting, self.stream.train_sizes
        most = jax.eval_shape(self.stream.make_stream, jax.random.key(0)).train.image.size
        num_examples = most if sizes is None else sum(sizes)
        return setting.epochs * -(-num_examples // setting.batch_size)

    def all_tasks(self) -> tuple[int, ...]:
        """Return all tasks that are evaluated."""
        return tuple(range(self.stream.setting.num_tasks))


def plan(
    learner: Factory,
    model: Model,
    stream: Benchmark,
    *,
    seeds: Iterable[int] = (0,),
    points: Sequence[Point] | None = None,
    stream_seed: int | None = None,
    loss: Loss | None = None,
    eval_every: int | None = None,
    settings: Mapping[str, Any],
) -> Plan:
    """Return what `train` is asked for; its arguments are `train`'s.

    Raises:
        ValueError: In one sentence, what is wrong with which argument.
    """
    if not callable(learner) or isinstance(learner, Learner):
        raise ValueError(
            f"learner is {learner!r:.60}; it must be a factory such as la_maml, which is called with model and setting."
        )
    if not isinstance(model, Model):
        raise ValueError(
            f"model is a {type(model).__name__}; it must be a Model, as networks.mlp returns, or networks.from_flax "
            "and the like of another library's module."
        )
    if not isinstance(stream, Benchmark):
        raise ValueError(
            f"stream is a {type(stream).__name__}; it must be a Benchmark, as streams.from_arrays returns."
        )
    if loss is not None:
        stream = stream._replace(setting=stream.setting._replace(loss=loss))
    seeds = _checked_seeds(seeds)
    if stream_seed is not None:
        checks.integer("stream_seed", stream_seed, 0, 2**32 - 1)
    floats, static, axes = _parted(learner, settings)
    points = _checked_points(learner, floats, axes, points)
    runs = Runs(seeds, points, floats, stream_seed)
    wanted = Plan(learner, model, stream, runs, static, stream.learnt(), ())
    needs = _needs(wanted)
    _check_needs(learner, needs, stream)
    num_tasks = stream.setting.num_tasks
    if "mixed_stream" in needs:  # of which there is only a before and an after
        wanted = wanted._replace(learnt=(0,), rows=(num_tasks,))
    else:
        wanted = wanted._replace(rows=tuple(range(1, len(wanted.learnt) + 1)))
    return wanted._replace(inside=_inside(stream, wanted.learnt, needs, eval_every))


def example(stream: Benchmark) -> Batch:
    """Return the shapes of an incoming batch."""
    drawn = jax.eval_shape(stream.make_stream, jax.random.key(0))
    rows = jax.ShapeDtypeStruct((stream.setting.batch_size,), jnp.int32)

    def batch(transforms: Any, rows: jax.Array) -> jax.Array:
        transform = jax.tree.map(lambda a: a[0], transforms)
        return stream.inputs.evaluation(jnp.asarray(stream.images[:1]), rows * 0, transform)

    x = jax.eval_shape(batch, drawn.transform, rows)
    label = drawn.train.label
    y = jax.ShapeDtypeStruct((x.shape[0], *label.shape[2:]), label.dtype)
    return batch_of_shapes(x, y)


def batch_of_shapes(x: jax.ShapeDtypeStruct, y: jax.ShapeDtypeStruct) -> Batch:
    """Return a batch that consists of shapes, as `jax.eval_shape` takes it."""
    task, valid = (jax.ShapeDtypeStruct(x.shape[:1], dtype) for dtype in (jnp.int32, bool))
    return Batch(*cast(Any, (x, y, task, valid)))


def _checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    is_one = not isinstance(seeds, Iterable) or getattr(seeds, "ndim", 1) == 0
    listed: list[Any] = [seeds] if is_one else list(seeds)
    for seed in listed:
        checks.integer("seeds", seed, 0, 2**32 - 1)
    numbers = tuple(int(seed) for seed in listed)
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"seeds is {list(numbers)}; it must hold one or more different integers.")
    return numbers


def _parted(
    learner: Factory, settings: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, Any], dict[str, list[float]]]:
    """Return the float settings, the static ones, and those that are swept, with their values."""
    signature = inspect.signature(learner).parameters.values()
    keywords = [p.name for p in signature if p.kind is p.KEYWORD_ONLY]
    name = hyper.name_of(learner)
    if len([p for p in signature if p.kind is not p.KEYWORD_ONLY]) != 2:
        raise ValueError(
            f"learner is {name}{inspect.signature(learner)}; it must be a factory of a model and a setting, with all "
            "else keyword-only: factory(model, setting, *, ...)."
        )
    for p in signature:
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in settings:
            raise ValueError(f"{p.name} is not given; {name} has no default for it.")
    for given in settings:
        if given not in keywords:
            raise ValueError(hyper.unknown(f"setting of {name}", given, keywords))
    known = hyper.names(learner)
    swept = {
        n: _listed(n, v) for n, v in settings.items() if hyper.is_float(learner, n) and _is_list(v)
    }
    one = {n: swept[n][0] if n in swept else v for n, v in settings.items() if n in known}
    floats, static = hyper.part_floats(learner, one)
    for axis, values in swept.items():
        for value in values:
            hyper.check_floats(learner, {axis: value})
    others = {n: v for n, v in settings.items() if n not in known}
    return {n: float(v) for n, v in floats.items()}, {**static, **others}, swept


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) == 1


def _listed(name: str, values: Any) -> list[float]:
    if not len(values):
        raise ValueError(f"{name} is {values!r}; it must hold one or more values.")
    if any(value is None for value in values):
        raise ValueError(
            f"{name} is {values!r}; the values of an axis must be numbers, without None."
        )
    return list(values)


def _checked_points(
    learner: Factory,
    floats: Mapping[str, float],
    axes: Mapping[str, Sequence[float]],
    points: Sequence[Point] | None,
) -> tuple[Point, ...]:
    if points is None:
        values = itertools.product(*([float(v) for v in of_axis] for of_axis in axes.values()))
        return tuple(dict(zip(axes, point, strict=True)) for point in values)
    if axes:
        raise ValueError(f"points is given; {next(iter(axes))} must be one value then, not a list.")
    if not points:
        raise ValueError("points is empty; it must hold a point, or be None.")
    for point in points:
        for name in point:
            if name not in floats and name != "stream_seed":
                known = [*floats, "stream_seed"]
                raise ValueError(
                    hyper.unknown(f"float setting of {hyper.name_of(learner)}", name, known)
                )
        hyper.check_floats(learner, {n: v for n, v in point.items() if n in floats})
    return tuple(dict(point) for point in points)


def _needs(wanted: Plan) -> frozenset[str]:
    """Return what the learner needs, once its factory and its network have taken their settings and the data."""
    setting, shapes = wanted.stream.setting, example(wanted.stream)
    _check_labels(setting, shapes.y)
    if setting.loss is not None:
        _check_loss(setting, shapes.y)
    floats = {name: jnp.float32(value) for name, value in wanted.runs.floats.items()}
    learner = wanted.build(floats)
    if not isinstance(learner, Learner):
        raise ValueError(
            f"learner is {hyper.name_of(wanted.learner)}, which returns a {type(learner).__name__}; it must return a "
            "Learner."
        )
    networks.check_outputs(wanted.model, setting, shapes.x)
    return learner.needs


def _check_loss(setting: Setting, y: jax.Array | jax.ShapeDtypeStruct) -> None:
    if not callable(setting.loss):
        raise ValueError(
            f"loss is {setting.loss!r}; it must be a function, loss(outputs, y) -> [B]."
        )
    outputs = jax.ShapeDtypeStruct((y.shape[0], setting.num_classes), jnp.float32)
    found = jax.eval_shape(setting.loss, outputs, y)
    if getattr(found, "shape", None) != y.shape[:1]:
        raise ValueError(
            f"loss returns shape {getattr(found, 'shape', None)} for {y.shape[0]} examples; it must return a number "
            "per example, without a mean."
        )


def _check_labels(setting: Setting, y: jax.Array | jax.ShapeDtypeStruct) -> None:
    is_class = jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == 1
    if setting.loss is None and not is_class:
        raise ValueError(
            f"loss is None, and the stream's targets are {y.dtype} of shape {y.shape}; cross-entropy takes classes, so "
            "make the labels integers, or pass a loss of your own, loss(outputs, y) -> [B]."
        )
    if setting.loss is not None and not setting.class_mask.all():
        raise ValueError("loss is given; the stream's heads must be 'shared' then, not 'per_task'.")


def _check_needs(learner: Factory, needs: frozenset[str], stream: Benchmark) -> None:
    name, setting = hyper.name_of(learner), stream.setting
    if "task_id" in needs and setting.class_mask.all() and setting.num_tasks > 1:
        raise ValueError(
            f"learner is {name}, which needs to know the task at test; the stream must have heads 'per_task'."
        )
    for need, what in _OF_A_TASK.items():
        if stream.is_sequence and need in needs:
            raise ValueError(
                f"learner is {name}, which needs {what}; on a stream with a sequence it must be one that does not."
            )


_OF_A_TASK = {
    "task_data": "all of a task's data when the task ends",
    "one_task": "batches of one task each",
    "mixed_stream": "all tasks shuffled together",
}


def _inside(
    stream: Benchmark, learnt: Sequence[int], needs: frozenset[str], eval_every: int | None
) -> tuple[int, ...]:
    if eval_every is None:
        return ()
    checks.integer("eval_every", eval_every, 1)
    if "mixed_stream" in needs:
        raise ValueError(
            f"eval_every is {eval_every}; it must be None for a learner of all tasks at once, as nothing is inside a "
            "task."
        )
    most = max(stream.num_batches(row) for row in learnt)
    if eval_every >= most:
        raise ValueError(
            f"eval_every is {eval_every}; it must be below {most}, the batches of a task."
        )
    return tuple(range(eval_every, most, eval_every))
