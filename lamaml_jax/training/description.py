"""What learner.json says of runs: enough to tell them apart, and to make them again with what a file cannot hold."""

import functools
from collections.abc import Mapping
from typing import Any, NoReturn

import chex
import jax
import numpy as np

from lamaml_jax import hyper, networks
from lamaml_jax.learners import LEARNERS
from lamaml_jax.streams import Benchmark, Stream
from lamaml_jax.streams.benchmark import Inputs
from lamaml_jax.streams.parts.inputs import PLAIN_INPUTS
from lamaml_jax.training import fingerprints
from lamaml_jax.training.planning import Plan
from lamaml_jax.training.planning.fitting import (
    batch_of_shapes,
    check_kinds,
    check_targets,
    example,
)
from lamaml_jax.training.runs import Factory, Runs
from lamaml_jax.types import Batch, Loss, Model, Setting

FORMAT = 1
NAMES = (
    *("learner", "settings", "functions", "network", "setting", "inputs", "example"),
    *("seeds", "points", "floats", "stream_seed", "learnt", "rows", "is_sequence", "inside"),
)
"""What is in every description."""
OWN = "own_learner"
"""Whether the learner is not this package's, whatever its name."""
STAGES = "stages"
"""The rows that the stream has learnt, which tell a mixed stream's tasks; None stands for all."""


def describe(plan: Plan) -> dict[str, Any]:
    """Return what learner.json holds."""
    stream, runs, setting = plan.stream, plan.runs, plan.stream.setting
    shapes = example(stream)
    functions = [name for name, value in plan.static.items() if not _is_plain(value)]
    given = fingerprints.of_given(plan, shapes)
    described = {
        "format": FORMAT,
        "learner": hyper.name_of(plan.learner),
        OWN: _is_own(plan.learner),
        "settings": {n: v for n, v in plan.static.items() if n not in functions},
        "functions": functions,
        "setting": {
            **setting._asdict(),
            "class_mask": np.asarray(setting.class_mask).astype(int).tolist(),
            "loss": setting.loss is not None,
        },
        "inputs": _inputs(stream),
        **given,
        **_network(plan.model, shapes, given[fingerprints.NETWORK]),
        **({} if plan.start is None else {"start": plan.start}),
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
        STAGES: None if stream.stages is None else list(stream.stages),
        "inside": list(plan.inside),
    }
    return {name: _of_python(value) for name, value in described.items()}


def planned(found: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Plan, Batch]:
    """Return what was trained, and the shapes of a batch.

    Args:
        found: A description.
        given: What it does not hold, by name; see `Result.load`.

    Raises:
        ValueError: Something must be given, or what is given does not fit.
    """
    learner, model, loss, stream = _functions(found, given)
    mask = np.array(found["setting"]["class_mask"], bool)
    setting = Setting(**{**found["setting"], "class_mask": mask, "loss": loss})
    without_data = _without_data(setting, found)
    check_kinds(learner, model, without_data if stream is None else stream)
    if stream is None:
        stream = without_data
    else:
        _check_stream(stream, setting, found["inputs"])
        # Only its data are wanted: what was trained stays as it was.
        stages = without_data.stages if STAGES in found else stream.stages
        stream = stream._replace(
            setting=setting, stages=stages, is_sequence=without_data.is_sequence
        )
    runs = Runs(found["seeds"], found["points"], found["floats"], found["stream_seed"])
    learnt, rows, inside = (tuple(found[n]) for n in ("learnt", "rows", "inside"))
    x, y = (jax.ShapeDtypeStruct(*found["example"][n]) for n in "xy")
    settings = found["settings"] | {n: given[n] for n in found["functions"]}
    started = found.get("start")
    plan = Plan(learner, model, stream, runs, settings, learnt, rows, inside, started, found)
    return plan, batch_of_shapes(x, y)


def fitted(stream: Benchmark, plan: Plan) -> Benchmark:
    """Return another stream as one to evaluate learners on, under the loss that they minimised.

    Args:
        stream: The other.
        plan: What was trained.

    Raises:
        ValueError: It has other tasks, heads, inputs or targets.
    """
    check_kinds(plan.learner, plan.model, stream)
    _check_stream(stream, plan.stream.setting, _inputs(plan.stream))
    stream = stream._replace(setting=stream.setting._replace(loss=plan.stream.setting.loss))
    check_targets(stream.setting, example(stream).y)
    return stream


def _functions(
    found: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Factory, Model, Loss | None, Benchmark | None]:
    """Return learner, model, loss and stream, as given or found; raise ValueError where something must be given."""
    name, source = found["learner"], found["network"]
    learner = given.get("learner", None if found.get(OWN) else LEARNERS.get(name))
    model = given.get("model")
    if model is None and source is not None:
        model = _remade(source)
    loss, stream = given.get("loss"), given.get("stream")
    if loss is None and isinstance(stream, Benchmark):
        loss = stream.setting.loss
    known = ["learner", "model", "stream", "loss", *found["functions"]]
    for unknown in set(given) - set(known):
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
    return learner, model, loss, stream  # type: ignore[return-value]


def _network(model: Model, shapes: Batch, fingerprint: str) -> dict[str, Any]:
    """Return a network's source, or the fingerprint of its other parts where it is not as its source makes it."""
    parts = fingerprints.of_parts(model, shapes)
    if model.source is not None:
        made = _remade(model.source)
        of_made = fingerprints.of_network(made, shapes), fingerprints.of_parts(made, shapes)
        if of_made == (fingerprint, parts):
            return {"network": model.source}
    return {"network": None, fingerprints.PARTS: parts}


def _remade(source: Mapping[str, Any]) -> Model:
    arguments = {name: value for name, value in source.items() if name != "name"}
    return getattr(networks, source["name"])(**arguments)


def _is_own(learner: Factory) -> bool:
    """Return whether it takes more than its name and what is in "settings" to make a learner."""
    made_from, bound = learner, {}
    if isinstance(learner, functools.partial):
        made_from, bound = learner.func, learner.keywords
    is_known = LEARNERS.get(hyper.name_of(learner)) is made_from
    return not (is_known and set(bound) <= hyper.names(learner))


def _inputs(stream: Benchmark) -> dict[str, Any]:
    """Return what inputs a stream has."""
    return {
        "shape": list(stream.images.shape[1:]),
        "dtype": stream.images.dtype.name,
        "transformed": stream.inputs is not PLAIN_INPUTS,
    }


def _check_stream(stream: Benchmark, setting: Setting, inputs: Mapping[str, Any]) -> None:
    """Check that a stream has the tasks, heads and inputs that a learner was trained on."""
    found = _inputs(stream)
    alike = {
        "heads": np.array_equal(stream.setting.class_mask, setting.class_mask),
        "inputs": all(found[name] == inputs[name] for name in ("shape", "dtype")),
        "transform": found["transformed"] == inputs["transformed"],
    }
    if differing := [name for name, is_alike in alike.items() if not is_alike]:
        raise ValueError(
            f"stream has other {' and '.join(differing)} than the learner was trained on; its tasks, classes and "
            "inputs must be of the same kind."
        )


def _without_data(setting: Setting, found: Mapping[str, Any]) -> Benchmark:
    """Return a stream of no examples, with which to predict where inputs are taken as they are."""
    inputs = found["inputs"]

    def refuse(*_: Any) -> NoReturn:
        raise ValueError(
            "stream is not given; a saved learner holds no data, so pass stream=... to load."
        )

    def make_stream(key: chex.PRNGKey) -> Stream:
        return refuse() if inputs["transformed"] else Stream((), (), ())  # type: ignore[arg-type]

    images = np.zeros((0, *inputs["shape"]), inputs["dtype"])
    seen = Inputs(refuse, refuse) if inputs["transformed"] else PLAIN_INPUTS
    stages = found.get(STAGES)
    return Benchmark(
        setting,
        images,
        make_stream,
        seen,
        stages=None if stages is None else tuple(stages),
        is_sequence=found["is_sequence"],
    )


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _of_python(value: Any) -> Any:
    """Return a description's value with Python's numbers for NumPy's, which JSON does not know."""
    if isinstance(value, Mapping):
        return {name: _of_python(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_of_python(of) for of in value]
    return value.item() if isinstance(value, np.generic) else value
