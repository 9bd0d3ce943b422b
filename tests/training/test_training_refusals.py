"""What is refused before anything compiles, in a sentence that names the argument."""

import time
from typing import Any

import jax
import numpy as np
import pytest
from blobs import NETWORK, blobs, lines, squares

from lamaml_jax import Learner, Model, hat, icarl, la_maml, networks, online, parallel, train
from lamaml_jax.training import Clock

pytestmark = pytest.mark.usefixtures("quick_compile")


def own_method(model: Model, setting: Any, *, step: float = 0.1, other: int = 1) -> Learner:
    return online(model, setting, lr=step)


def required(model: Model, setting: Any, *, step: float) -> Learner:
    return online(model, setting, lr=step)


def nothing(model: Model, setting: Any) -> None:
    return None


def mean(outputs: jax.Array, y: jax.Array) -> jax.Array:
    return squares(outputs, y).mean()


def positional(model: Model, setting: Any, step: float) -> Learner:
    return online(model, setting)


def probing(found: Any) -> Any:
    """Return a probe that measures this."""
    return lambda seed, stream, state, images, task: found


@pytest.mark.parametrize(
    ("learner", "keywords", "message"),
    [
        (online, {"rate": 1}, "'rate' is not a setting of online"),
        (la_maml, {"lr_int": 1}, "'lr_int' is not a setting of la_maml; did you mean lr_init"),
        (la_maml, {"lr_init": -1.0}, "lr_init is -1.0; it must be a finite number >= 0"),
        (la_maml, {"lr_init": [0.1, -1]}, "lr_init is -1; it must be a finite number >= 0"),
        (la_maml, {"lr_init": []}, r"lr_init is \[\]; it must hold one or more values"),
        (
            la_maml,
            {"clip_norm": [None, 1.0]},
            "the values of an axis must be numbers, without None",
        ),
        (la_maml, {"glances": [1, 2]}, r"glances is \[1, 2\]; it must be an integer"),
        (la_maml, {"points": [{"glances": 2}]}, "'glances' is not a float setting of la_maml"),
        (la_maml, {"points": []}, "points is empty"),
        (la_maml, {"points": [{}], "lr_lr": [1, 2]}, "points is given; lr_lr must be one value"),
        *(
            (online, {"points": [{"stream_seed": seed}]}, f"stream_seed is {seed!r}; it must be an")
            for seed in (2.7, -1, "x", None)
        ),
        (own_method, {"step": [0.1, np.nan]}, "step is nan; it must be a finite number"),
        (positional, {}, "learner is positional.*; it must be a factory of a model and a setting"),
        (online, {"seeds": (0, 0)}, r"seeds is \[0, 0\]; it must hold one or more different"),
        (online, {"seeds": ()}, r"seeds is \[\]"),
        (online, {"seeds": (0.5,)}, "seeds is 0.5; it must be an integer"),
        (online, {"eval": "some"}, "eval is 'some'"),
        (online, {"eval_every": 5}, "eval_every is 5; it must be below 5, the batches of a task"),
        (icarl, {}, "learner is icarl, which needs to know the task at test"),
        (hat, {}, "learner is hat, which needs to know the task at test"),
        (
            online,
            {"loss": None, "stream": lines},
            "loss is None, and the stream's targets are float32",
        ),
        (
            online,
            {"stream": lambda: blobs(heads="per_task")},
            "the model has 3 outputs; it must have 9",
        ),
        (online, {"stream": lambda: [1]}, "stream is a list; it must be a Benchmark"),
        ("er", {}, "learner is 'er'; it must be a factory such as la_maml"),
        (nothing, {}, "learner is nothing, which returns a NoneType; it must return a Learner"),
        (required, {}, "step is not given; required has no default for it"),
        (online, {"devices": []}, r"devices is \[\]; it must be a list of devices"),
        (online, {"devices": 2}, "devices is 2; it must be a list of devices"),
        (online, {"devices": "cpu"}, "devices is 'cpu'; it must be a list of devices"),
        (online, {"checkpoint_dir": __file__}, "checkpoint_dir is '.*'; it must be the path of a"),
        (online, {"checkpoint_dir": 3}, "checkpoint_dir is 3; it must be the path of a folder"),
        (online, {"clock": time.time}, "clock is <.*>; it must be a Clock, such as"),
        (online, {"should_stop": True}, "should_stop is True; it must be a function of nothing"),
        (online, {"probe": 3}, "probe is 3; it must be a function of seed, stream, state"),
        (
            online,
            {"probe": probing(1.0)},
            "probe returns float32.*; it must return a dict of arrays",
        ),
        (online, {"probe": probing({"of": {}})}, "probe returns a dict as of; it must be an array"),
        *(
            (
                online,
                {"probe": probing({name: 1.0})},
                f"probe returns .* {name} is a name that the record has",
            )
            for name in ("loss", "seeds", "diverged", "rate_mean", "inside_batches", "file")
        ),
        (
            online,
            {"checkpoint_seconds": "a"},
            "checkpoint_seconds is 'a'; it must be a finite number",
        ),
        (online, {"points": {"lr": 0.1}}, "points is {'lr': 0.1}; it must be a list of settings"),
        (
            online,
            {"points": [{"lr": 0.1}, {"lr": 0.3}, {"lr": 0.1}]},
            "points has .* twice, as far",
        ),
        (online, {"lr": [0.1, np.float32(0.1)]}, "lr has .*0.1.* twice, as far as float32 tells"),
        (online, {"checkpoint_seconds": 9.0}, "checkpoint_seconds is 9.0; clock must be given"),
        *(
            (
                online,
                {"checkpoint_seconds": s, "clock": Clock()},
                f"checkpoint_seconds is {s}; it must",
            )
            for s in (float("nan"), float("inf"), -1.0)
        ),
        (online, {"on_task": 3}, "on_task is 3; it must be a function"),
        (online, {"loss": "mse", "stream": lines}, "loss is 'mse'; it must be a function"),
        (
            online,
            {"loss": mean, "stream": lines},
            r"loss returns shape \(\) for outputs .* and y .*, without a mean",
        ),
    ],
)
def test_bad_arguments_are_named(
    learner: Any, keywords: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "over_runs", None)  # nothing is compiled
    stream = keywords.pop("stream", blobs)()
    with pytest.raises(ValueError, match=message):
        train(learner, NETWORK, stream, **keywords)


def test_a_module_that_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="model is a MLP; it must be a Model, as networks.mlp"):
        train(online, networks.MLP((4,), 3), blobs())
