"""The settings of every learner: that each one counts, and one sentence for a bad one."""

import inspect
import itertools
import math
import re
import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BATCH_SIZE,
    MODEL,
    NUM_TASKS,
    SETTING,
    build,
    make_batch,
    small_keywords,
    task_data,
)

from lamaml_jax import LEARNERS, Batch
from lamaml_jax.hyper import part_floats

KEY = jax.random.key(0)

# What counts only beside another setting, which is off by default.
BESIDE: dict[str, dict[str, Any]] = {"projection_directions": {"gradient_projection": 0.1}}

every_learner = pytest.mark.parametrize("name", LEARNERS)


@every_learner
def test_every_setting_reaches_the_program(name: str) -> None:
    """Another value of any one keyword makes another program; the same values make the same one."""

    def program(**keywords: Any) -> str:
        learner = build(name, **keywords)

        def run(batch: Batch) -> Any:
            state, info = learner.update(KEY, learner.init(KEY, batch), batch)
            state = learner.end_task(KEY, state, task_data(learner, 0))
            return state, info, learner.predict(state, batch.x, jnp.int32(0), KEY)

        traced = jax.make_jaxpr(run)(make_batch(0))
        return re.sub("0x[0-9a-f]+", "", f"{traced} {traced.consts}")  # without addresses

    usual = program()
    assert program() == usual
    floats, static = part_floats(LEARNERS[name], small_keywords(name))
    hints = typing.get_type_hints(LEARNERS[name])
    for keyword, value in (floats | static).items():
        beside = BESIDE.get(keyword, {})
        before = program(**beside) if beside else usual
        assert program(**{keyword: another(value, hints[keyword])}, **beside) != before, keyword


def another(value: Any, hint: Any) -> Any:
    """Return an allowed value of a keyword that is not `value`."""
    if isinstance(value, str):
        members = [typing.get_args(member) or (member,) for member in typing.get_args(hint)]
        return next(c for c in itertools.chain(*members) if isinstance(c, str) and c != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + (1 if value < NUM_TASKS else NUM_TASKS)  # which share a memory
    return BATCH_SIZE // 2 if value is None else value / 2


def bad_settings() -> list[tuple[str, str, Any, str]]:
    """Return learner, keyword, bad value, and what the sentence must say of the range."""
    known_bad = [
        ("glances", 0, ">= 1"),
        ("glances", 1.5, "an integer"),
        ("glances", True, "an integer"),
        ("memory", 0, ">= [123]"),
        ("inner_steps", 0, r"in \[1, 10\]"),
        ("inner_steps", BATCH_SIZE + 1, r"in \[1, 10\]"),
        ("examples_per_step", 0, "divide the batch size, 10"),
        ("examples_per_step", True, "divide the batch size, 10"),
        ("examples_per_step", 3, "divide the batch size, 10"),
        ("replay_batch", -1, ">= "),
        ("order", "third", "'first', 'second'"),
        ("meta_loss_at", "first", "'every', 'last'"),
        ("push_epochs", "last", "'first', 'every'"),
    ]
    bad = []
    for name, factory in LEARNERS.items():
        floats, static = part_floats(factory, {})
        bad += [(name, k, v, "") for k in floats for v in (-1.0, math.inf, "0.1", True)]
        bad += [(name, k, value, allowed) for k, value, allowed in known_bad if k in static]
        for keyword, default in static.items():
            if isinstance(default, str):
                bad.append((name, keyword, "nonsense", "one of"))
            elif isinstance(default, int) and not isinstance(default, bool):
                bad.append((name, keyword, -1, ""))
    return [*bad, *(("fs_dgpm", "momentum", value, r"in \[0, 1\)") for value in (1.0, 1.5))]


@pytest.mark.parametrize(("name", "keyword", "value", "allowed"), bad_settings())
def test_a_bad_setting_gets_one_sentence(name: str, keyword: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"^{keyword} is {value!r}; it must .*{allowed}.*\.$"):
        build(name, **{keyword: value})


@every_learner
def test_numpys_numbers_and_arrays_of_one_are_settings_as_pythons_are(name: str) -> None:
    floats, static = part_floats(LEARNERS[name], small_keywords(name))
    as_numpys = {k: np.int64(v) for k, v in static.items() if type(v) is int}
    for convert in (np.float32, np.float64, jnp.asarray):
        learner = LEARNERS[name](
            MODEL, SETTING, **as_numpys, **{k: convert(v) for k, v in floats.items()}
        )
        jax.eval_shape(
            lambda key, batch, learner=learner: learner.update(
                key, learner.init(key, batch), batch
            ),
            KEY,
            make_batch(0),
        )
    keyword = next(iter(floats))
    for bad in (jnp.float32(jnp.nan), np.array(True), np.array("a"), jnp.zeros(2), jnp.array(True)):
        with pytest.raises(ValueError, match=f"^{keyword} is .*; it must be "):
            LEARNERS[name](MODEL, SETTING, **{keyword: bad})


@pytest.mark.parametrize("name", ["la_maml", "sync_la_maml", "c_maml"])
def test_a_meta_learner_must_replay(name: str) -> None:
    with pytest.raises(ValueError, match=r"replay_batch is 0; it must be an integer >= 1\."):
        build(name, replay_batch=0)


def draws_with_a_choice(name: str) -> bool:
    choices = {"replacement", "memory", "replay_batch"}
    return choices <= inspect.signature(LEARNERS[name]).parameters.keys()


@pytest.mark.parametrize("name", list(filter(draws_with_a_choice, LEARNERS)))
def test_a_draw_without_replacement_takes_no_more_than_the_memory_has(name: str) -> None:
    with pytest.raises(ValueError, match=r"replay_batch is 5; it must be an integer in \[\d, 4\]"):
        build(name, memory=4, replay_batch=5, replacement=False)
    build(name, memory=4, replay_batch=5, replacement=True)
