"""How a configuration is made of what flags say, and checked before any work starts."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from experiments import presets
from experiments.presets.preset import Protocol, Semantics
from experiments.runs import catalogue
from experiments.runs.config import Config, stream_defaults
from lamaml_jax import checks, hyper
from lamaml_jax.training import Eval


def make_config(
    *,
    benchmark: str,
    learner: str,
    protocol: Protocol = "single",
    semantics: Semantics = "released",
    assignments: list[str],
    seeds: tuple[int, ...],
    stream: Mapping[str, Any],
    network: Mapping[str, Any],
    eval: Eval = "all",
    dataset: str | None = None,
    architecture: str | None = None,
    stream_seed: int | None = None,
    eval_every: int | None = None,
) -> Config:
    """Return a checked configuration.

    Args:
        benchmark: As in `Config`.
        learner: As in `Config`.
        protocol: Its name.
        semantics: Its name.
        assignments: `name=value` overrides of the preset's keywords, or of any of the stream's or the network's, or
            `stream_seed=value`.
        seeds: As in `Config`.
        stream: Keywords of the benchmark's factory; None stands for the preset's value, or the factory's default.
        network: Keywords of the network; None stands for its default.
        eval: As in `Config`.
        dataset: Its name; None stands for the benchmark's.
        architecture: As in `Config`.
        stream_seed: As in `Config`.
        eval_every: As in `Config`; a task's number of batches is checked once it is known.

    Raises:
        ValueError: In one sentence, what is wrong with which argument.
    """
    dataset = catalogue.dataset(benchmark, dataset)
    if catalogue.is_own(benchmark) and semantics != "released":
        raise ValueError(
            f"semantics is {semantics!r}; {benchmark} has no presets for it to choose among: set what differs by --set."
        )
    factories = _factories(benchmark, learner, architecture)
    set_of = _parse_assignments(f"setting of {learner} on {benchmark}", factories, assignments)
    _require_all(factories["network"], set_of["network"])
    preset = presets.keywords(benchmark, learner, semantics, protocol)
    of_network = presets.network(benchmark, learner) if architecture is None else {}
    own = catalogue.defaults(factories["network"])
    config = Config(
        benchmark=benchmark,
        learner=learner,
        protocol=protocol,
        semantics=semantics,
        seeds=seeds,
        keywords=_keywords(factories["learner"], protocol, preset | set_of["learner"]),
        stream=_stream(benchmark, learner, protocol, {**stream, **set_of["stream"]}),
        network={
            **own,
            **of_network,
            **_given(network, own, f"the network of {benchmark}"),
            **set_of["network"],
        },
        dataset=dataset,
        architecture=architecture,
        eval=eval,
        stream_seed=set_of["run"].get("stream_seed", stream_seed),
        eval_every=eval_every,
    )
    if config.stream_seed is not None:
        checks.integer("stream_seed", config.stream_seed, 0, 2**32 - 1)
    needs = config.needs()  # builds network and learner, which check their static keywords
    if eval_every is not None:
        _check_inside(config, needs)
    return config


def assignments_for(learner: str, learners: Sequence[str], assignments: Sequence[str]) -> list[str]:
    """Return the assignments for one of several learners, leaving out those that only others have."""
    names = {name: hyper.names(catalogue.learner(name)) for name in learners}
    others = set().union(*names.values()) - names[learner]
    return [text for text in assignments if text.partition("=")[0] not in others]


def setting_names(benchmark: str, learner: str, architecture: str | None = None) -> list[str]:
    """Return the names that an assignment may set: the learner's keywords, the stream's and the network's."""
    factories = _factories(benchmark, learner, architecture).values()
    return [name for factory in factories for name in hyper.names(factory)]


def unknown_setting(benchmark: str, learner: str, architecture: str | None, name: str) -> str:
    """Return the sentence that says that an assignment cannot set a name."""
    factories = _factories(benchmark, learner, architecture)
    return _unknown(f"setting of {learner} on {benchmark}", name, factories)


def integer_names(benchmark: str, learner: str, architecture: str | None = None) -> set[str]:
    """Return those of `setting_names` whose values are integers."""
    factories = _factories(benchmark, learner, architecture).values()
    return {n for f in factories for n in hyper.names(f) if hyper.is_integer(f, n)}


def _check_inside(config: Config, needs: frozenset[str]) -> None:
    every = config.eval_every
    checks.integer("eval_every", every, 1)
    if "mixed_stream" in needs:
        raise ValueError(
            f"eval_every is {every}; {config.learner} learns all tasks at once, so that nothing is inside a task."
        )
    if config.eval == "needed":
        raise ValueError(
            f"eval_every is {every} and eval 'needed'; eval must be all or seen, as the lowest accuracy of a task "
            "is known only where it is evaluated after every later one."
        )


def _parse_assignments(
    what: str, factories: Mapping[str, Callable[..., Any]], assignments: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Return the values that are set, by whose they are; `what` is what a message calls a name."""
    texts: dict[str, list[str]] = {whose: [] for whose in factories}
    for text in assignments:
        name, equals, _ = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} is not of the form name=value.")
        owners = [whose for whose, factory in factories.items() if name in hyper.names(factory)]
        if not owners:
            raise ValueError(_unknown(what, name, factories))
        if len(owners) > 1:
            of = " and of ".join(hyper.name_of(factories[whose]) for whose in owners)
            raise ValueError(f"{name!r} is a setting of {of}; rename that of yours.")
        texts[owners[0]].append(text)
    return {whose: hyper.parse(factory, texts[whose]) for whose, factory in factories.items()}


def _unknown(what: str, name: str, factories: Mapping[str, Callable[..., Any]]) -> str:
    for factory in factories.values():
        if name in inspect.signature(factory).parameters:
            return (
                f"{name!r} of {hyper.name_of(factory)} cannot be set; what can is keyword-only, behind a *, and "
                "annotated as an int, a float, a bool, a Literal or a Sequence[int]."
            )
    return hyper.unknown(what, name, [n for f in factories.values() for n in hyper.names(f)])


def _require_all(factory: Callable[..., Any], given: Mapping[str, Any]) -> None:
    for p in inspect.signature(factory).parameters.values():
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in given:
            raise ValueError(
                f"{p.name} is not given; {hyper.name_of(factory)} has no default for it: pass --set={p.name}=VALUE."
            )


def _factories(
    benchmark: str, learner: str, architecture: str | None
) -> dict[str, Callable[..., Any]]:
    """Return whose signatures say what can be set, by what they make."""

    def run(*, stream_seed: int | None = None) -> None: ...

    return {
        "learner": catalogue.learner(learner),
        "stream": catalogue.benchmark(benchmark),
        "network": catalogue.network(architecture, catalogue.dataset(benchmark)),
        "run": run,
    }


def _keywords(
    factory: Callable[..., Any], protocol: Protocol, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all of the learner's keywords; one glance in the multi-pass protocol unless more are given."""
    if protocol == "multi" and "glances" in hyper.names(factory):
        given = {"glances": 1, **given}
    _require_all(factory, given)
    floats, static = hyper.part_floats(factory, dict(given))
    return {**static, **floats}


def _stream(
    benchmark: str, learner: str, protocol: Protocol, given: Mapping[str, Any]
) -> dict[str, Any]:
    own = stream_defaults(benchmark)
    if catalogue.is_own(benchmark) and "eval_split" not in own:
        given = _without_eval_split(given, benchmark)
    given = _given(given, own, benchmark)
    preset = presets.stream(benchmark, learner, protocol)
    dataset = catalogue.dataset(benchmark)
    if dataset is None:  # a user's own, with the length that it has
        if protocol == "single":
            return own | given
        if "epochs" not in own:
            raise ValueError(f"protocol is 'multi'; {benchmark} has no epochs, and is passed once.")
        return own | {"epochs": presets.EPOCHS[protocol]} | given
    values = own | preset | given
    if "classes_per_task" in own:
        num_classes = catalogue.DATASETS[dataset].num_classes
        per_task = values["classes_per_task"]
        checks.divisor("classes_per_task", per_task, num_classes, "the number of classes")
        values["num_tasks"] = given.get("num_tasks", num_classes // per_task)
        checks.integer("num_tasks", values["num_tasks"], 1, num_classes // per_task)
    for name in ("num_tasks", "samples_per_task"):
        if values[name] is not None:
            checks.integer(name, values[name], 1)
    return values


def _without_eval_split(given: Mapping[str, Any], benchmark: str) -> dict[str, Any]:
    """Return what else is given to a user's benchmark that evaluates on test data, and cannot do otherwise."""
    if given.get("eval_split") == "validation":
        raise ValueError(
            f"eval_split is 'validation', the default where runs choose; {benchmark} has no eval_split. Give "
            f"{catalogue.short(benchmark)} a keyword eval_split that it passes on to streams.from_arrays, or pass "
            "--eval_split=test to choose on test data knowingly."
        )
    return {name: value for name, value in given.items() if name != "eval_split"}


def _given(given: Mapping[str, Any], own: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Return what is not None; raise ValueError unless all of that is among `own`."""
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name not in own:
            raise ValueError(f"{name} is {value!r}; {whose} has no {name}.")
    return given
