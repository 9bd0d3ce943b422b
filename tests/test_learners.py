"""The contract of a learner, kept by all in LEARNERS; a new one is tested here as soon as it has a name.

Settings are taken as the factories have them, but for a few that are made small where a factory knows them.
"""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BATCH_SIZE,
    NUM_TASKS,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
    small_setting,
)

from lamaml_jax import LEARNERS, Batch, Learner, networks
from lamaml_jax.hyper import part_floats

pytestmark = pytest.mark.usefixtures("quick_compile")

SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
SMALL = {"memory": 12, "replay_batch": 4, "glances": 2, "inner_steps": 2, "mc_samples": 2}
KEY = jax.random.key(0)
DRAW_NOTHING = {"online", "iid", "ewc", "gem", "hat"}  # in an update

every_learner = pytest.mark.parametrize("name", LEARNERS)


def build(name: str, **keywords: Any) -> Learner:
    return LEARNERS[name](MODEL, SETTING, **small_keywords(name) | keywords)


def small_keywords(name: str) -> dict[str, Any]:
    known = inspect.signature(LEARNERS[name]).parameters
    return {keyword: value for keyword, value in SMALL.items() if keyword in known}


def task_data(learner: Learner, task: int) -> Batch | None:
    size = SETTING.batch_size * SETTING.batches_per_epoch
    return make_batch(99, task, size) if "task_data" in learner.needs else None


class Case(NamedTuple):
    """A learner with its functions jitted once for all tests, and a note of every trace."""

    name: str
    learner: Learner
    update: Callable[..., tuple[Any, Any]]
    end_task: Callable[..., Any]
    predict: Callable[..., jax.Array]
    start: Any
    traces: list[str]


@pytest.fixture(scope="module", params=LEARNERS)
def case(request: pytest.FixtureRequest, quick_compile: None) -> Case:
    learner = build(request.param)
    traces: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        def function(*args: Any) -> Any:
            traces.append(name)
            return getattr(learner, name)(*args)

        return jax.jit(function)

    functions = (noted(name) for name in ("update", "end_task", "predict"))
    return Case(
        request.param, learner, *functions, jax.jit(learner.init)(KEY, make_batch(0)), traces
    )


def stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def train(case: Case, key: chex.PRNGKey = KEY, num_tasks: int = NUM_TASKS) -> Any:
    """Return the state after two epochs of two batches on each task."""
    state = case.start
    for task in range(num_tasks):
        for epoch in range(2):
            for step in range(2):
                batch = make_batch(
                    step,
                    task,
                    first_epoch=jnp.asarray(epoch == 0),
                    progress=jnp.float32(step / 2),
                )
                key, now = jax.random.split(key)
                state, _ = case.update(now, state, batch)
        state = case.end_task(key, state, task_data(case.learner, task))
    return state


def test_needs_are_known(case: Case) -> None:
    assert case.learner.needs <= {"task_id", "task_data", "mixed_stream"}


def test_training_keeps_tree_shapes_and_dtypes(case: Case) -> None:
    chex.assert_trees_all_equal_shapes_and_dtypes(train(case), case.start)


def test_no_batch_task_or_epoch_traces_anew(case: Case) -> None:
    state = train(case)
    for task in range(NUM_TASKS):
        case.predict(state, make_batch(0).x, jnp.int32(task), KEY)
    assert sorted(case.traces) == ["end_task", "predict", "update"]


def test_only_the_shapes_of_the_example_matter(case: Case) -> None:
    other = make_batch(1, task=2, valid=jnp.zeros(BATCH_SIZE, bool))
    assert_same_bits(jax.jit(case.learner.init)(KEY, other), case.start)


def test_the_same_key_gives_the_same_bits(case: Case) -> None:
    first, second = (case.update(KEY, case.start, make_batch(0)) for _ in range(2))
    assert_same_bits(first, second)


def test_another_key_gives_another_state(case: Case) -> None:
    other = jax.jit(case.learner.init)(jax.random.key(1), make_batch(0))
    assert differs(other, case.start)


def test_an_update_with_another_key_draws_anew_if_it_draws(case: Case) -> None:
    state = train(case, num_tasks=2)
    one, other = (
        [case.update(jax.random.key(k), state, make_batch(i, task=2))[0] for i in range(5)]
        for k in (0, 1)
    )
    assert differs(one, other) == (case.name not in DRAW_NOTHING)


def test_a_task_changes_what_is_predicted(case: Case) -> None:
    x, task = make_batch(0).x, jnp.int32(0)
    before, after = (case.predict(s, x, task, KEY) for s in (case.start, train(case, num_tasks=1)))
    assert differs(before, after)


def test_seeds_under_vmap_and_batches_under_scan_learn_what_a_loop_learns(case: Case) -> None:
    keys = jax.random.split(KEY, (2, 3))
    batches = [[make_batch(3 * seed + step, task=1) for step in range(3)] for seed in range(2)]

    def alone(seed: int) -> tuple[Any, Any]:
        state = case.start
        for key, batch in zip(keys[seed], batches[seed], strict=True):
            state, info = case.update(key, state, batch)
        return state, info

    def scanned(keys: jax.Array, batches: Batch) -> tuple[Any, Any]:
        def step(state: Any, inputs: tuple[chex.PRNGKey, Batch]) -> tuple[Any, Any]:
            return case.learner.update(inputs[0], state, inputs[1])

        state, infos = jax.lax.scan(step, case.start, (keys, batches))
        return state, jax.tree.map(lambda values: values[-1], infos)

    together = jax.jit(jax.vmap(scanned))(keys, stack([stack(seed) for seed in batches]))
    assert_close(together, stack([alone(0), alone(1)]))


def test_what_stands_in_padding_changes_nothing(case: Case) -> None:
    state = train(case, num_tasks=1)
    batch = make_batch(7, task=1)
    padded = batch._replace(valid=jnp.arange(BATCH_SIZE) < 6)
    garbage = padded._replace(
        x=batch.x.at[6:].set(1e6), y=batch.y.at[6:].set(5), task=batch.task.at[6:].set(2)
    )
    first, second = (case.update(KEY, state, b) for b in (padded, garbage))
    assert_same_bits(first, second)
    assert differs(first[0], case.update(KEY, state, batch)[0])


def test_a_batch_of_nothing_but_padding_changes_nothing(case: Case) -> None:
    state = train(case, num_tasks=1)
    nothing = make_batch(7, task=1, valid=jnp.zeros(BATCH_SIZE, bool))
    updated, info = case.update(KEY, state, nothing)
    assert_same_bits(updated, state)
    chex.assert_tree_all_finite(info)


def test_infos_are_finite_scalars(case: Case) -> None:
    state = train(case, num_tasks=1)
    _, info = case.update(KEY, state, make_batch(3, task=1))
    assert info
    assert all(isinstance(name, str) and value.shape == () for name, value in info.items())
    chex.assert_tree_all_finite(info)


@pytest.mark.parametrize("size", [1, 7])
def test_only_a_tasks_own_outputs_have_scores(case: Case, size: int) -> None:
    state = train(case)
    predict = jax.jit(case.learner.predict)
    for task in range(NUM_TASKS):
        scores = predict(state, make_batch(5, task, size).x, jnp.int32(task), KEY)
        assert scores.shape == (size, SETTING.num_classes)
        own = np.broadcast_to(SETTING.class_mask[task], scores.shape)
        np.testing.assert_array_equal(np.isfinite(scores), own)
        assert np.all(np.asarray(scores)[~own] == -np.inf)


@every_learner
def test_with_a_shared_head_all_outputs_have_scores(name: str) -> None:
    learner = LEARNERS[name](MODEL, small_setting(per_task=False), **small_keywords(name))
    state = learner.init(KEY, make_batch(0))
    assert np.all(np.isfinite(learner.predict(state, make_batch(0).x, jnp.int32(1), KEY)))


@every_learner
def test_double_precision_keeps_its_dtypes(name: str, x64: None) -> None:
    learner = build(name)
    batch = make_batch(0)
    batch = batch._replace(x=batch.x.astype(jnp.float64), y=batch.y.astype(jnp.int64))
    state = jax.eval_shape(learner.init, KEY, batch)
    updated, _ = jax.eval_shape(learner.update, KEY, state, batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(updated, state)


@every_learner
def test_no_key_is_used_twice(name: str) -> None:
    learner = build(name)

    def live(key: chex.PRNGKey, batch: Batch) -> jax.Array:
        keys = jax.random.split(key, 4)
        state, _ = learner.update(keys[1], learner.init(keys[0], batch), batch)
        state = learner.end_task(keys[2], state, task_data(learner, 0))
        return learner.predict(state, batch.x, jnp.int32(0), keys[3])

    with jax.debug_key_reuse(True):
        jax.eval_shape(live, KEY, make_batch(0))


@every_learner
def test_float_settings_may_be_traced(name: str) -> None:
    factory = LEARNERS[name]
    floats, static = part_floats(factory, small_keywords(name))
    for keyword in [k for k, value in static.items() if value is None]:
        floats |= part_floats(factory, {keyword: 1.0} | floats)[0]
    static = {k: value for k, value in static.items() if k not in floats}

    def learn(floats: dict[str, Any]) -> Any:
        learner = factory(MODEL, SETTING, **static, **floats)
        state, info = learner.update(KEY, learner.init(KEY, make_batch(0)), make_batch(0))
        state = learner.end_task(KEY, state, task_data(learner, 0))
        return state, info, learner.predict(state, make_batch(0).x, jnp.int32(0), KEY)

    traced = jax.eval_shape(learn, {k: jnp.float32(value) for k, value in floats.items()})
    constant = jax.eval_shape(lambda: learn(floats))
    chex.assert_trees_all_equal_shapes_and_dtypes(traced, constant)


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
        assert program(**{keyword: another(value, hints[keyword])}) != usual, keyword


def another(value: Any, hint: Any) -> Any:
    """Return an allowed value of a keyword that is not `value`."""
    if isinstance(value, str):
        return next(choice for choice in typing.get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 3
    return BATCH_SIZE // 2 if value is None else value / 2


def bad_settings() -> list[tuple[str, str, Any, str]]:
    """Return learner, keyword, bad value, and what the sentence must say of the range."""
    known_bad = [
        ("glances", 0, ">= 1"),
        ("glances", 1.5, "an integer"),
        ("glances", True, "an integer"),
        ("memory", 0, ">= "),
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
        _, static = part_floats(factory, {})
        bad += [(name, k, value, allowed) for k, value, allowed in known_bad if k in static]
        for keyword, default in static.items():
            if isinstance(default, str):
                bad.append((name, keyword, "nonsense", "one of"))
            elif isinstance(default, int) and not isinstance(default, bool):
                bad.append((name, keyword, -1, ""))
    return bad


@pytest.mark.parametrize(("name", "keyword", "value", "allowed"), bad_settings())
def test_a_bad_setting_gets_one_sentence(name: str, keyword: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"^{keyword} is {value!r}; it must .*{allowed}.*\.$"):
        build(name, **{keyword: value})


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
