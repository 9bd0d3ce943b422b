"""The promises of a learner in the order in which they are looked at, those of its factory and functions first."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from lamaml_jax import hyper
from lamaml_jax.testing import computed, traced
from lamaml_jax.testing.trial import MODEL, SETTING, Trial, make_trial
from lamaml_jax.training.planning import contract
from lamaml_jax.types import Learner

Promise: TypeAlias = Callable[[Trial], Iterator[str]]


def broken_promises(
    factory: Callable[..., Learner],
    keywords: Mapping[str, Any],
    short_batch: Mapping[str, Any] | None,
) -> list[str]:
    """Return a sentence for every broken promise; see `check_learner`."""
    broken = [f"settings: {sentence}" for sentence in _settings(factory, keywords)]
    if broken:
        return broken
    learner: Any = factory(MODEL, SETTING, **keywords)
    if not isinstance(learner, Learner):
        kind = type(learner).__name__
        return [f"functions: the factory returns a {kind}; it must return a Learner."]
    trial = make_trial(learner)
    given: dict[str, Any] = {"factory": factory, "keywords": keywords}
    stages: list[dict[str, Promise]] = [
        {"functions": _functions, "needs": _needs},
        {"fixed state": traced.fixed_state},
        {
            "info": traced.info,
            "scores": traced.scores,
            "traced floats": functools.partial(traced.traced_floats, **given),
            "double precision": functools.partial(traced.double_precision, **given),
            "numpy batches": traced.numpy_batches,
            "keys": traced.keys,
        },
        {
            "buffers": computed.buffers,
            "initial state": computed.initial_state,
            "same bits": computed.same_bits,
            "learning": computed.learning,
            "padding": computed.padding,
            "any order": computed.any_order,
            "heads": computed.heads,
            "mapped runs": computed.mapped_runs,
            "no trace anew": computed.no_trace_anew,
        },
    ]
    if short_batch is not None:
        shorter = functools.partial(factory, MODEL, **{**keywords, **short_batch})
        stages.append({"short batches": functools.partial(computed.short_batches, shorter=shorter)})
    for stage in stages:
        for name, promise in stage.items():
            try:
                broken += [f"{name}: {sentence}" for sentence in promise(trial)]
            except Exception as error:  # whatever a method raises is what its author wants to read
                message = str(error).strip().partition("\n")[0]
                return [*broken, f"{name}: {type(error).__name__}: {message}"]
        if broken:
            break  # what follows would fail for the same reasons
    return broken


# The factory and what it returns


def _settings(factory: Callable[..., Learner], keywords: Mapping[str, Any]) -> Iterator[str]:
    name = hyper.name_of(factory)
    _model, _setting, *settings = inspect.signature(factory).parameters.values()
    for setting in settings:
        if setting.kind is not setting.KEYWORD_ONLY:
            where = f"as in `{name}(model, setting, *, {setting.name})`"
            yield f"{setting.name} may be given by position; settings stand behind a *, {where}."
        elif setting.annotation is setting.empty and setting.default in (setting.empty, None):
            yield f"{setting.name} has no annotation and no default that shows its type; the scripts read text by it."
        elif setting.default is setting.empty and setting.name not in keywords:
            yield f"{setting.name} has no default, and the check was not given a value."


def _functions(trial: Trial) -> Iterator[str]:
    calls: dict[str, tuple[str, ...]] = {
        "init": ("key", "example"),
        "update": ("key", "state", "batch"),
        "end_task": ("key", "state", "data"),
        "predict": ("state", "x", "task"),
    }
    for name, arguments in calls.items():
        signature = inspect.signature(getattr(trial.learner, name))
        try:
            signature.bind(*arguments)
            signature.bind(*arguments, **({"key": None} if name == "predict" else {}))
        except TypeError:
            optional = ", key=None" if name == "predict" else ""
            must = f"({', '.join(arguments)}{optional})"
            yield f"{name} takes {signature}; it must take {must}."


def _needs(trial: Trial) -> Iterator[str]:
    if (sentence := contract.unknown_needs(trial.learner.needs)) is not None:
        yield sentence
