"""Whether learner, network, loss and stream fit each other, found from shapes alone."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from lamaml_jax import hyper
from lamaml_jax.streams import Benchmark
from lamaml_jax.training.runs import Factory
from lamaml_jax.types import Batch, Learner, Model, Setting


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


def check_kinds(learner: Any, model: Any, stream: Any) -> None:
    """Raise ValueError unless these are a factory, a model and a stream."""
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


def check_targets(setting: Setting, y: jax.Array | jax.ShapeDtypeStruct) -> None:
    """Raise ValueError unless the loss takes a stream's targets."""
    _check_labels(setting, y)
    if setting.loss is not None:
        _check_loss(setting, y)


def check_needs(learner: Factory, needs: frozenset[str], stream: Benchmark) -> None:
    """Raise ValueError unless a stream has what the learner needs."""
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


def _check_labels(setting: Setting, y: jax.Array | jax.ShapeDtypeStruct) -> None:
    is_class = jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == 1
    if setting.loss is None and not is_class:
        raise ValueError(
            f"loss is None, and the stream's targets are {y.dtype} of shape {y.shape}; cross-entropy takes classes, so "
            "make the labels integers, or pass a loss of your own, loss(outputs, y) -> [B]."
        )
    if setting.loss is not None and not setting.class_mask.all():
        raise ValueError("loss is given; the stream's heads must be 'shared' then, not 'per_task'.")


def _check_loss(setting: Setting, y: jax.Array | jax.ShapeDtypeStruct) -> None:
    if not callable(setting.loss):
        raise ValueError(
            f"loss is {setting.loss!r}; it must be a function, loss(outputs, y) -> [B]."
        )
    outputs = jax.ShapeDtypeStruct((y.shape[0], setting.num_classes), jnp.float32)
    try:
        found = jax.eval_shape(setting.loss, outputs, y)
    except Exception as error:  # of any kind, as the function is a user's
        what = (str(error) or "no message").splitlines()[0].rstrip(".")
        raise ValueError(
            f"loss raises {type(error).__name__} ({what}) for outputs {outputs.shape} and y {y.shape}; it must return "
            "a number per example, loss(outputs, y) -> [B]."
        ) from error
    if (shape := getattr(found, "shape", None)) != y.shape[:1]:
        without = ", without a mean" if shape == () else ""
        raise ValueError(
            f"loss returns shape {shape} for outputs {outputs.shape} and y {y.shape}; it must return a number per "
            f"example{without}."
        )
