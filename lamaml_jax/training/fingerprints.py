"""What tells apart methods, networks, losses and data that look alike: SHA-256 of programs and arrays.

A program is the text of its jaxpr, which another version of JAX may write otherwise, with the arrays it closes over.

Dimensions: B batch, C classes.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from lamaml_jax.loop import Run
from lamaml_jax.streams import Benchmark, Stream
from lamaml_jax.streams.parts.inputs import PLAIN_INPUTS
from lamaml_jax.training.planning import Plan
from lamaml_jax.training.program import Probe
from lamaml_jax.types import Batch, Model

NETWORK, PARTS = "sha256_network", "sha256_parts"
"""Of what a network computes of inputs, and of all else that it has."""


def digest(value: Any) -> str:
    """Return the SHA-256 of a text, or of a tree's arrays with their types and shapes."""
    found = hashlib.sha256(value.encode() if isinstance(value, str) else b"")
    for leaf in [] if isinstance(value, str) else map(np.asarray, jax.tree.leaves(value)):
        found.update(f"{leaf.dtype} {leaf.shape} ".encode())
        found.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def of_given(plan: Plan, shapes: Batch) -> dict[str, str]:
    """Return the fingerprints of data, transforms, network and loss by name.

    Args:
        plan: What is trained.
        shapes: A batch that consists of shapes.
    """
    stream = plan.stream
    drawn = _drawn(stream)
    found = {
        "sha256_data": _of_data(stream, drawn),
        "sha256_transforms": _of_transforms(stream, drawn),
        NETWORK: of_network(plan.model, shapes),
    }
    if stream.setting.loss is not None:
        found["sha256_loss"] = _of_loss(stream, drawn)
    return found


def of_examples(stream: Benchmark) -> str:
    """Return the fingerprint of a stream's images and of which it shows with which labels, the same on all devices."""
    drawn = _drawn(stream)
    return digest([stream.images, drawn.train, drawn.test])


def of_learner(plan: Plan, shapes: Batch) -> str:
    """Return the fingerprint of what a learner's functions compute, whatever its float settings.

    Args:
        plan: What is trained.
        shapes: A batch that consists of shapes.
    """
    setting = plan.stream.setting
    floats = {name: _shape((), jnp.float32) for name in plan.runs.floats}
    key = jax.eval_shape(jax.random.key, 0)
    batch = shapes._replace(first_epoch=_shape((), bool), progress=_shape((), jnp.float32))
    size = setting.batch_size * setting.batches_per_epoch
    data = [_shape((size, *a.shape[1:]), a.dtype) for a in shapes[:4]]

    def init(floats: Any, key: Any, batch: Batch) -> Any:
        return plan.build(floats).init(key, batch)

    def others(floats: Any, key: Any, state: Any, batch: Batch, data: Any) -> Any:
        learner = plan.build(floats)
        of_task = Batch(*data) if "task_data" in learner.needs else None
        scores = learner.predict(state, batch.x, batch.task[0], key)
        return learner.update(key, state, batch), learner.end_task(key, state, of_task), scores

    state = _strong(jax.eval_shape(init, floats, key, batch))
    programs = _program(init, floats, key, batch), _program(others, floats, key, state, batch, data)
    return digest(programs)


def of_probe(probe: Probe, functions: Run, plan: Plan) -> str:
    """Return the fingerprint of what a probe computes.

    Args:
        probe: As `train` takes it.
        functions: Of a run, from `make_run`.
        plan: What is trained.
    """
    seed = jax.tree.map(lambda a: a[0], plan.runs.stacked())
    images = _shape(plan.stream.images.shape, plan.stream.images.dtype)
    stream = jax.eval_shape(functions.draw_stream, seed)
    state = _strong(jax.eval_shape(functions.init, seed, stream, images))
    return digest(_program(probe, seed, stream, state, images, _shape((), jnp.int32)))


def others(
    plan: Plan, shapes: Batch, found: Mapping[str, Any], given: Mapping[str, Any]
) -> list[str]:
    """Return which of the things given to `load` are not those that were trained, as far as fingerprints tell.

    Transforms and losses are known by what they make of the data, and so told apart on the same data alone.

    Args:
        plan: What was trained, with what is given.
        shapes: A batch that consists of shapes.
        found: A description.
        given: By name.
    """
    stream, differing = plan.stream, []

    def is_other(name: str, fingerprint: Callable[[], str]) -> bool:
        return f"sha256_{name}" in found and fingerprint() != found[f"sha256_{name}"]

    if "model" in given and (
        is_other("network", lambda: of_network(plan.model, shapes))
        or is_other("parts", lambda: of_parts(plan.model, shapes))
    ):
        differing.append("model")
    if given.get("stream") is not None and _shows_on_data(stream):
        drawn = _drawn(stream)
        if is_other("transforms", lambda: _of_transforms(stream, drawn)):
            differing.append("stream")
        if stream.setting.loss and is_other("loss", lambda: _of_loss(stream, drawn)):
            differing.append("loss")
        if {"stream", "loss"} & set(differing) and is_other(
            "data", lambda: _of_data(stream, drawn)
        ):
            differing = [name for name in differing if name == "model"]
    # What a learner computes shows network and loss as well.
    unknown = [name for name in ("learner", "loss", *found["functions"]) if name in given]
    if not differing and unknown and is_other("learner", lambda: of_learner(plan, shapes)):
        return unknown
    return differing


def _shows_on_data(stream: Benchmark) -> bool:
    return stream.inputs is not PLAIN_INPUTS or stream.setting.loss is not None


def _drawn(stream: Benchmark) -> Stream:
    return jax.jit(stream.make_stream)(jax.random.key(0))


def _of_data(stream: Benchmark, drawn: Stream) -> str:
    return digest([stream.images, drawn])


def _of_transforms(stream: Benchmark, drawn: Stream) -> str:
    rows = _first_rows(drawn)
    transform = jax.tree.map(lambda a: a[0], drawn.transform)
    few = jnp.asarray(stream.images[np.asarray(rows)]), jnp.arange(len(rows)), transform
    evaluation = stream.inputs.evaluation(*few)
    return digest((evaluation, stream.inputs.training(jax.random.key(0), *few)))


def of_network(model: Model, shapes: Batch) -> str:
    """Return the fingerprint of what a network computes of inputs shaped like those of a batch."""
    params = jax.eval_shape(model.init, jax.random.key(0), shapes.x)
    text, *arrays = _program(model.apply, params, shapes.x)
    return digest([text, *arrays] if arrays else text)


def of_parts(model: Model, shapes: Batch) -> str:
    """Return the fingerprint of how a network is initialised, of its gates, and of what methods ask of its layers.

    A part that does not fit the inputs counts as not there, since the learner at hand may do without.
    """
    key = jax.eval_shape(jax.random.key, 0)
    params = jax.eval_shape(model.init, key, shapes.x)
    gates = [_shape((units,), jnp.float32) for units in model.gate_sizes]
    parts = [
        (model.features, (params, shapes.x)),
        (model.layer_inputs, (params, shapes.x)),
        (model.gate_params, (params, gates)),
        (model.apply if gates else None, (params, shapes.x, gates)),
    ]
    programs: list[Any] = [_program(model.init, key, shapes.x)]
    for function, arguments in parts:
        try:
            programs.append("" if function is None else _program(function, *arguments))
        except Exception:  # whatever a function of a user's raises
            programs.append("")
    return digest([programs, str(model.kernels), str(model.gate_sizes)])


def _of_loss(stream: Benchmark, drawn: Stream) -> str:
    label = drawn.train.label[0, : len(_first_rows(drawn))]
    outputs = jnp.arange(len(label) * stream.setting.num_classes) / 7
    loss: Any = stream.setting.loss
    return digest(loss(outputs.reshape(len(label), -1).astype(jnp.float32), label))


def _first_rows(drawn: Stream) -> jax.Array:
    return drawn.train.image[0, :4] if drawn.train.image.shape[1] else drawn.test.image[0, :4]


def _program(function: Callable[..., Any], *shapes: Any) -> list[Any]:
    """Return a computation as text, without the addresses and colours in it, and the arrays that it closes over."""
    closed = jax.make_jaxpr(function)(*shapes)
    text = re.sub(r"0x[0-9a-f]+", "", closed.jaxpr.pretty_print(use_color=False))
    return [text, *_arrays(closed)]


def _arrays(program: Any) -> Iterator[Any]:
    """Yield the arrays that a program and those inside it close over."""
    if isinstance(program, ClosedJaxpr):
        for array in program.consts:
            is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
            yield jax.random.key_data(array) if is_key else array
        program = program.jaxpr
    for equation in program.eqns:
        for value in jax.tree.leaves(equation.params):
            if isinstance(value, ClosedJaxpr | Jaxpr):
                yield from _arrays(value)


def _shape(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def _strong(state: Any) -> Any:
    """Return a state's shapes as those of arrays, where it has numbers of Python's as well."""
    return jax.tree.map(lambda a: _shape(a.shape, a.dtype), state)
