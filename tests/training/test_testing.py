"""The contract's check names what a method breaks, and nothing else; the guide's method breaks nothing."""

import importlib
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from helpers import MODEL, SETTING, make_batch

from lamaml_jax import Batch, Learner, Model, Setting, learner_factory, online
from lamaml_jax.learners.online import OnlineState
from lamaml_jax.losses import task_loss
from lamaml_jax.testing import check_learner
from lamaml_jax.testing.computed import no_trace_anew
from lamaml_jax.testing.trial import make_trial
from lamaml_jax.types import NonNegative

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "your_method.md"


class Noted(NamedTuple):
    """Weights, and a note beside them."""

    params: Any
    note: Any


def changed(
    init: Callable[..., Any] | None = None,
    update: Callable[..., Any] | None = None,
    **fields: Any,
) -> Callable[..., Learner]:
    """Return a factory of Online with a note in its state, which `init(key, params)` and `update(note, batch)` make.

    `update` returns what is multiplied onto the weights and the new note.
    """

    @learner_factory
    def method(model: Model, setting: Setting, *, lr: NonNegative = 0.1) -> Learner:
        learner = online(model, setting, lr=lr)

        def start(key: jax.Array, example: Batch) -> Noted:
            params = learner.init(key, example).params
            return Noted(params, jnp.float32(0)) if init is None else Noted(*init(key, params))

        def step(key: jax.Array, state: Noted, batch: Batch) -> Any:
            inner, info = learner.update(key, OnlineState(state.params), batch)
            factor, note = (1, state.note) if update is None else update(state.note, batch)
            params = jax.tree.map(lambda p: p * factor, inner.params)
            return Noted(params, note), info

        return learner._replace(init=start, update=step, **fields)

    return method


def by_position(model: Model, setting: Setting, lr: NonNegative = 0.1) -> Learner:
    return online(model, setting, lr=lr)


def unannotated(model: Model, setting: Setting, *, lr=None) -> Learner:  # type: ignore[no-untyped-def]
    return online(model, setting, lr=0.1 if lr is None else lr)


def branching(model: Model, setting: Setting, *, lr: NonNegative = 0.1) -> Learner:
    return online(model, setting, lr=lr if lr < 1 else 1.0)


@learner_factory
def mean_over_all_rows(model: Model, setting: Setting, *, lr: NonNegative = 0.1) -> Learner:
    loss_fn = task_loss(model.apply, setting)
    learner = online(model, setting, lr=lr)

    def update(key: jax.Array, state: Any, batch: Batch) -> Any:
        share = batch.valid.mean()
        loss, grads = jax.value_and_grad(lambda p: share * loss_fn(p, batch))(state.params)
        return state._replace(params=jax.tree.map(lambda p, g: p - lr * g, state.params, grads)), {
            "loss": loss
        }

    return learner._replace(update=update)


def unsealed(model: Model, setting: Setting, *, lr: NonNegative = 0.1) -> Learner:
    """Multiply padding by zero, which is not enough for NaN."""
    learner = online(model, setting, lr=lr)

    def update(key: jax.Array, state: Any, batch: Batch) -> Any:
        state, info = learner.update(key, state, batch)
        return state, info | {"mean": (batch.x * batch.valid[:, None]).mean()}

    return learner._replace(update=update)


BROKEN: dict[str, tuple[Any, str, str]] = {
    "positional settings": (by_position, "settings", "lr may be given by position"),
    "no annotation": (unannotated, "settings", "lr has no annotation"),
    "a branch on a float": (branching, "traced floats", "lr cannot be traced"),
    "an unknown need": (changed(needs=frozenset({"labels"})), "needs", "'labels' is unknown"),
    "another signature": (
        changed(predict=lambda state, x: x),
        "functions",
        r"predict takes \(state, x\); it must take \(state, x, task, key=None\)",
    ),
    "another dtype": (
        changed(update=lambda note, batch: (1, note.astype(jnp.float16))),
        "fixed state",
        r"update makes state\.note float16\[\], which init made float32\[\]",
    ),
    "a weak type": (
        changed(
            lambda key, params: (params, jnp.float32(0)), lambda note, batch: (1, jnp.asarray(0.0))
        ),
        "fixed state",
        r"update makes state\.note float32\[\], of weak type",
    ),
    "a key kept": (
        changed(lambda key, params: (params, jax.random.split(key)[0])),
        "fixed state",
        "state.note is a key; a state has numbers",
    ),
    "no learner": (
        lambda model, setting: online(model, setting)._asdict(),
        "functions",
        "the factory returns a dict; it must return a Learner",
    ),
    "a key used twice": (
        changed(lambda key, params: (params, jax.random.normal(key) + jax.random.uniform(key))),
        "keys",
        "a key is used twice",
    ),
    "scores of all heads": (
        changed(predict=lambda state, x, task, key=None: MODEL.apply(state.params, x)),
        "heads",
        "outputs of other heads than task 0's have scores",
    ),
    "a state without a name for its weights": (
        changed(predict=lambda state, x, task, key=None: MODEL.apply(state["weights"], x)),
        "scores",
        "TypeError: tuple indices must be integers",
    ),
    "one prediction for all": (
        changed(predict=lambda state, x, task, key=None: x.sum()),
        "scores",
        r"predict returns float32\[\] for 1 inputs; it must return scores \(1, 6\)",
    ),
    "a shared buffer": (
        changed(lambda key, params: (params, params)),
        "buffers",
        r"the memory of state\.params\['Dense_0'\]\['bias'\]",
    ),
    "padding that counts": (
        changed(update=lambda note, batch: (1, note + len(batch.y))),
        "short batches",
        "3 examples and 7 rows of padding give another 0.note",
    ),
    "padding that is read": (unsealed, "padding", "decorate the factory with learner_factory"),
    "a mean over padding": (
        mean_over_all_rows,
        "short batches",
        "3 examples and 7 rows of padding give another 0.params",
    ),
    "the same weights for all": (
        changed(lambda key, params: (jax.tree.map(jnp.ones_like, params), jnp.float32(0))),
        "initial state",
        "the same state for two keys",
    ),
    "a lowest loss that begins at infinity": (
        changed(
            lambda key, params: (params, jnp.float32(jnp.inf)),
            lambda note, batch: (1, jnp.where(batch.valid.any(), 1.0, note)),
        ),
        "initial state",
        r"init gives state\.note a number that is not finite, which says that the run has diverged",
    ),
    "tasks in order only": (
        changed(
            update=lambda note, batch: (
                jnp.where(batch.valid[0] & (batch.task[0] < note), jnp.nan, 1),
                jnp.where(batch.valid[0], batch.task[0], note).astype(jnp.float32),
            )
        ),
        "any order",
        "ids are names",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_promise_is_named_and_no_other(fault: str) -> None:
    factory, promise, sentence = BROKEN[fault]
    with pytest.raises(AssertionError, match=sentence) as caught:
        check_learner(factory)
    _, *lines = str(caught.value).splitlines()
    assert {line.removeprefix("- ").partition(":")[0] for line in lines} == {promise}


def test_a_program_that_is_traced_anew_is_counted() -> None:
    trial = make_trial(online(MODEL, SETTING))
    state = trial.init(KEY, make_batch(0))
    trial.predict(state, make_batch(0).x, jnp.int32(0), KEY)
    assert not list(no_trace_anew(trial))
    trial.predict(state, make_batch(0, size=7).x, jnp.int32(0), KEY)
    (sentence,) = no_trace_anew(trial)
    assert sentence.startswith("predict was traced 2 times; it must be once")


def test_an_error_of_the_method_is_told() -> None:
    def update(note: Any, batch: Batch) -> Any:
        raise RuntimeError("mine\nand more")

    with pytest.raises(AssertionError, match=r"- fixed state: RuntimeError: mine(\n|$)"):
        check_learner(changed(update=update))


def test_the_guide_shows_the_file_and_it_keeps_all_promises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    code = (ROOT / "examples" / "my_method.py").read_text(encoding="utf-8")
    assert f"%%writefile my_method.py\n{code}```\n" in text
    monkeypatch.syspath_prepend(ROOT / "examples")
    check_learner(importlib.import_module("my_method").ring_replay, memory=12, replay_batch=4)
