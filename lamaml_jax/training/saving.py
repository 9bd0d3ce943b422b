"""A result in files that any reader of JSON and NumPy's npz can open: learner.json, learner.npz and results.npz.

learner.json says what was trained, learner.npz holds the learners' states, each array `[R, ...]` under its path, and
results.npz all that was measured. Nothing is pickled, so that what is a function is not in them: it is given again. A
folder of checkpoints has a learner.json as well, and the states in its last checkpoint.
"""

import hashlib
import json
import pathlib
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
from lamaml_jax.types import Batch, Setting, State

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
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint.write(directory / STATE, state)
    with write_whole(directory / RESULTS) as file:
        np.savez_compressed(file, allow_pickle=False, **record)
    _write_description(directory / DESCRIPTION, _describe(plan))


def claim(directory: pathlib.Path, plan: Plan) -> None:
    """Write learner.json into a folder of checkpoints, or check that it is of these runs.

    Raises:
        ValueError: It is of others, or damaged.
    """
    path, wanted = directory / DESCRIPTION, json.loads(json.dumps(_describe(plan)))
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        _write_description(path, wanted)
        return
    found = _read_description(path)
    if differing := [n for n in {**wanted, **found} if wanted.get(n) != found.get(n)]:
        raise ValueError(
            f"checkpoint_dir is {str(directory)!r}, whose runs differ in {', '.join(differing)}; it must be a new "
            "folder, or one of the same runs."
        )


def load(
    directory: pathlib.Path, given: Mapping[str, Any]
) -> tuple[Plan, dict[str, np.ndarray], State]:
    """Return what `save` has written, or a script's run in its work directory; see `Result.load`.

    Raises:
        ValueError: A file is missing or damaged, or something must be given.
    """
    of_run = directory / CHECKPOINTS
    home = of_run if (of_run / DESCRIPTION).exists() else directory
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
            "sha256": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
        },
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
        raise ValueError(hyper.unknown("setting that is a function", unknown, found["functions"]))
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
    places = checkpoint.saved(home)
    path = home / places[-1].name if places else home / STATE
    try:
        if places:
            return checkpoint.read(path, {"state": like}, partly=True)["state"]
        return checkpoint.read(path, like)
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
