"""A result in files that any reader of JSON and NumPy's npz can open: learner.json, learner.npz and results.npz.

learner.json says what was trained, learner.npz holds the learners' states, each array `[R, ...]` under its path, and
results.npz all that was measured. Nothing is pickled, so that what is a function is not in them: it is given again. A
folder of checkpoints has a learner.json as well, and the states in its last checkpoint.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import chex
import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import checkpoint, hyper, networks
from lamaml_jax.files import write_whole
from lamaml_jax.learners import LEARNERS
from lamaml_jax.streams import Benchmark, Stream
from lamaml_jax.streams.arrays import PLAIN_INPUTS
from lamaml_jax.training.planning import Plan, batch_of_shapes, example
from lamaml_jax.training.runs import Runs
from lamaml_jax.types import Batch, Model, Setting, State

DESCRIPTION, STATE, RESULTS = "learner.json", "learner.npz", "results.npz"
CHECKPOINTS = "state"
"""The folder of checkpoints in a script's work directory."""

_FORMAT = 1
_NAMES = (
    *("learner", "settings", "functions", "network", "setting", "inputs", "example"),
    *("seeds", "points", "floats", "stream_seed", "learnt", "rows", "is_sequence", "inside"),
)


def save(
    directory: pathlib.Path, plan: Plan, record: Mapping[str, np.ndarray], state: State
) -> None:
    """Write a result's files, each whole or not at all."""
    if not len(plan.stream.images):
        raise ValueError("stream is not given; load the result with its stream to save it again.")
    directory.mkdir(parents=True, exist_ok=True)
    description = _describe(plan)
    if (directory / DESCRIPTION).exists():
        _refuse_others(directory / DESCRIPTION, description, "directory")
    checkpoint.write(directory / STATE, state)
    with write_whole(directory / RESULTS) as file:
        np.savez_compressed(file, allow_pickle=False, **record)
    _write_description(directory / DESCRIPTION, description)


def claim(directory: pathlib.Path, plan: Plan, evaluation: Mapping[str, Any]) -> None:
    """Write learner.json into a folder of checkpoints, or check that it is of these runs.

    Args:
        directory: The folder.
        plan: What is trained.
        evaluation: How it is evaluated.

    Raises:
        ValueError: It is of others, or damaged.
    """
    path, wanted = directory / DESCRIPTION, {**_describe(plan), **evaluation}
    if path.exists():
        _refuse_others(path, wanted, "checkpoint_dir")
        return
    directory.mkdir(parents=True, exist_ok=True)
    _write_description(path, wanted)


def load(
    directory: pathlib.Path, given: Mapping[str, Any]
) -> tuple[Plan, dict[str, np.ndarray], State]:
    """Return what `save` has written, or a script's run in its work directory; see `Result.load`.

    Raises:
        ValueError: A file is missing or damaged, or something must be given.
    """
    of_run = directory / CHECKPOINTS
    home = of_run if (of_run / DESCRIPTION).exists() else directory
    if not (directory / RESULTS).exists() and checkpoint.saved(home):
        raise ValueError(
            f"{directory} holds checkpoints of runs that are not finished; the same call of train goes on from them."
        )
    plan, shapes = _plan(_read_description(home / DESCRIPTION), dict(given))
    learner = plan.build({name: jnp.float32(v) for name, v in plan.runs.floats.items()})
    one = jax.eval_shape(learner.init, jax.random.key(0), shapes)
    num_runs = len(plan.runs.each())
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct((num_runs, *a.shape), a.dtype), one)
    return plan, read_arrays(directory / RESULTS), _read_state(home, like)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name.

    Raises:
        ValueError: The file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception:  # what reads the file fails on damage with errors of any kind
        raise ValueError(f"{path} is missing or damaged.") from None


def _describe(plan: Plan) -> dict[str, Any]:
    """Return what learner.json holds."""
    stream, runs, setting = plan.stream, plan.runs, plan.stream.setting
    shapes, images = example(stream), stream.images
    functions = [name for name, value in plan.static.items() if not _is_plain(value)]
    return {
        "format": _FORMAT,
        "learner": hyper.name_of(plan.learner),
        "settings": {n: v for n, v in plan.static.items() if n not in functions},
        "functions": functions,
        "network": plan.model.source,
        "setting": {
            **setting._asdict(),
            "class_mask": np.asarray(setting.class_mask).astype(int).tolist(),
            "loss": setting.loss is not None,
        },
        "inputs": {
            "shape": list(images.shape[1:]),
            "dtype": images.dtype.name,
            "transformed": stream.inputs is not PLAIN_INPUTS,
        },
        **_fingerprints(plan, shapes),
        "example": {
            n: [list(a.shape), a.dtype.name] for n, a in zip("xy", shapes[:2], strict=True)
        },
        "seeds": list(runs.seeds),
        "points": [dict(point) for point in runs.points],
        "floats": dict(runs.floats),
        "stream_seed": runs.stream_seed,
        "learnt": list(plan.learnt),
        "rows": list(plan.rows),
        "is_sequence": stream.is_sequence,
        "inside": list(plan.inside),
    }


def _fingerprints(plan: Plan, shapes: Batch) -> dict[str, str]:
    """Return what tells apart data, transforms, networks and losses that look alike, as SHA-256 by name."""
    stream, loss = plan.stream, plan.stream.setting.loss
    drawn = jax.jit(stream.make_stream)(jax.random.key(0))
    rows = drawn.train.image[0, :4] if drawn.train.image.shape[1] else drawn.test.image[0, :4]
    transform = jax.tree.map(lambda a: a[0], drawn.transform)
    few = jnp.asarray(stream.images[np.asarray(rows)]), jnp.arange(len(rows)), transform
    seen = stream.inputs.evaluation(*few), stream.inputs.training(jax.random.key(0), *few)
    found: dict[str, Any] = {
        "data": [stream.images, drawn],
        "transforms": seen,
        "network": _program(plan.model, shapes.x),
    }
    if loss is not None:
        label = drawn.train.label[0, : len(rows)]
        outputs = jnp.arange(len(rows) * stream.setting.num_classes) / 7
        found["loss"] = loss(outputs.reshape(len(rows), -1).astype(jnp.float32), label)
    return {f"sha256_{name}": _digest(value) for name, value in found.items()}


def _program(model: Model, x: Any) -> str:
    """Return a network's computation as text."""
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    return re.sub(r"0x[0-9a-f]+", "", str(jax.make_jaxpr(model.apply)(params, x)))


def _digest(value: Any) -> str:
    digest = hashlib.sha256(value.encode() if isinstance(value, str) else b"")
    for leaf in [] if isinstance(value, str) else jax.tree.leaves(value):
        digest.update(f"{leaf.dtype} {leaf.shape} ".encode())
        digest.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _check_stream(stream: Benchmark, setting: Setting, found: Mapping[str, Any]) -> None:
    """Check that a stream has the tasks, heads and inputs that a learner was trained on."""
    images, inputs = stream.images, found["inputs"]
    alike = {
        "heads": np.array_equal(stream.setting.class_mask, setting.class_mask),
        "inputs": [list(images.shape[1:]), images.dtype.name] == [inputs["shape"], inputs["dtype"]],
        "transform": (stream.inputs is not PLAIN_INPUTS) == inputs["transformed"],
    }
    if differing := [name for name, is_alike in alike.items() if not is_alike]:
        raise ValueError(
            f"stream has other {' and '.join(differing)} than the learner was trained on; its tasks, classes and "
            "inputs must be of the same kind."
        )


def _refuse_others(path: pathlib.Path, wanted: Mapping[str, Any], argument: str) -> None:
    found, wanted = _read_description(path), json.loads(json.dumps(wanted))
    names = {**wanted, **found} if argument == "checkpoint_dir" else wanted
    if differing := [n for n in names if wanted.get(n) != found.get(n)]:
        raise ValueError(
            f"{argument} is {str(path.parent)!r}, whose runs differ in {', '.join(differing)}; it must be a new "
            "folder, or one of the same runs."
        )


def _plan(found: dict[str, Any], given: dict[str, Any]) -> tuple[Plan, Batch]:
    """Return what was trained, and the shapes of a batch."""
    name, source = found["learner"], found["network"]
    learner = given.pop("learner", LEARNERS.get(name))
    model = given.pop("model", None)
    if model is None and source is not None:
        arguments = {n: v for n, v in source.items() if n != "name"}
        model = getattr(networks, source["name"])(**arguments)
    loss, stream = given.pop("loss", None), given.pop("stream", None)
    if loss is None and stream is not None:
        loss = stream.setting.loss
    for unknown in set(given) - set(found["functions"]):
        known = ["learner", "model", "stream", "loss", *found["functions"]]
        raise ValueError(hyper.unknown("thing that can be given", unknown, known))
    if learner is not None and not callable(learner):
        raise ValueError(f"learner is {learner!r}; it must be the factory that was trained.")
    lacking = {"learner": learner is None, "model": model is None}
    lacking |= {"loss": found["setting"]["loss"] and loss is None}
    lacking |= {n: n not in given for n in found["functions"]}
    for argument in (argument for argument, is_lacking in lacking.items() if is_lacking):
        raise ValueError(
            f"{argument} is not given; a saved {name} does not hold it, so pass {argument}=... to load."
        )
    mask = np.array(found["setting"]["class_mask"], bool)
    setting = Setting(**{**found["setting"], "class_mask": mask, "loss": loss})
    if stream is None:
        stream = _without_data(setting, found)
    else:
        _check_stream(stream, setting, found)
        stream = stream._replace(setting=stream.setting._replace(loss=loss))
    runs = Runs(found["seeds"], found["points"], found["floats"], found["stream_seed"])
    of_stages = (tuple(found[n]) for n in ("learnt", "rows", "inside"))
    x, y = (jax.ShapeDtypeStruct(*found["example"][n]) for n in "xy")
    settings = {**found["settings"], **given}
    return Plan(learner, model, stream, runs, settings, *of_stages), batch_of_shapes(x, y)


def _without_data(setting: Setting, found: Mapping[str, Any]) -> Benchmark:
    """Return a stream of no examples, with which to predict where inputs are taken as they are."""
    inputs = found["inputs"]

    def refuse() -> NoReturn:
        raise ValueError(
            "stream is not given; a saved learner holds no data, so pass stream=... to load."
        )

    def make_stream(key: chex.PRNGKey) -> Stream:
        return refuse() if inputs["transformed"] else Stream((), (), ())  # type: ignore[arg-type]

    images = np.zeros((0, *inputs["shape"]), inputs["dtype"])
    return Benchmark(setting, images, make_stream, PLAIN_INPUTS, is_sequence=found["is_sequence"])


def _read_state(home: pathlib.Path, like: State) -> State:
    advice = "load it with the learner and the model that were trained"
    path = home / STATE
    try:
        if not path.exists() and (places := checkpoint.saved(home)):
            path = home / places[-1].name
            return checkpoint.read(path, {"state": like}, partly=True, advice=advice)["state"]
        return checkpoint.read(path, like, advice=advice)
    except OSError:
        raise ValueError(f"{path} cannot be read; it must be a saved learner.") from None


def _write_description(path: pathlib.Path, description: Mapping[str, Any]) -> None:
    with write_whole(path) as file:
        file.write(json.dumps(description, indent=2).encode() + b"\n")


def _read_description(path: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    is_ours = isinstance(found, dict) and found.get("format") == _FORMAT
    if not is_ours or not set(_NAMES) <= set(found):
        raise ValueError(f"{path} is missing or damaged; it must be one that a result has saved.")
    return found


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
