"""The contract of a learner, kept by all in LEARNERS; a new one is tested here as soon as it has a name.

Settings are taken as the factories have them, but for a few that are made small where a factory knows them.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BATCH_SIZE,
    MODEL,
    NUM_TASKS,
    SETTING,
    assert_close,
    assert_no_buffer_twice,
    assert_same_bits,
    build,
    differs,
    first_rows,
    free_memory,
    make_batch,
    small_keywords,
    small_setting,
    task_data,
)

from lamaml_jax import LEARNERS, Batch, Learner
from lamaml_jax.parallel import collect, over_runs, place, run_mesh

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
WITH_ADAM = [
    "er",
    "sync_la_maml",
]  # also with an optimizer that has a state; C-MAML's outer step is Sync's
DRAW_NOTHING = {"online", "iid", "ewc", "gem", "hat"}  # in an update

every_learner = pytest.mark.parametrize("name", LEARNERS)


class Case(NamedTuple):
    """A learner with its functions jitted once for all tests, and a note of every trace."""

    name: str
    keywords: dict[str, Any]
    learner: Learner
    donating_update: Callable[..., tuple[Any, Any]]
    end_task: Callable[..., Any]
    predict: Callable[..., jax.Array]
    start: Any
    traces: list[str]

    def update(self, key: chex.PRNGKey, state: Any, batch: Batch) -> tuple[Any, Any]:
        """Update a state that is used again."""
        return self.donating_update(key, jax.tree.map(np.array, state), batch)


@pytest.fixture(scope="module", params=[*LEARNERS, *(f"{name}-adam" for name in WITH_ADAM)])
def case(request: pytest.FixtureRequest, quick_compile: None) -> Iterator[Case]:
    name, _, optimizer = request.param.partition("-")
    keywords = small_keywords(name) | ({"optimizer": optimizer} if optimizer else {})
    learner = build(name, **keywords)
    traces: list[str] = []

    def noted(part: str) -> Callable[..., Any]:
        def function(*args: Any) -> Any:
            traces.append(part)
            return getattr(learner, part)(*args)

        return jax.jit(function, donate_argnums=1 if part == "update" else ())

    functions = (noted(part) for part in ("update", "end_task", "predict"))
    start = jax.jit(learner.init)(KEY, make_batch(0))
    yield Case(name, keywords, learner, *functions, start, traces)
    free_memory()


def train(case: Case, key: chex.PRNGKey = KEY, num_tasks: int = NUM_TASKS) -> Any:
    """Return the state after two epochs of two batches on each task."""
    state = jax.tree.map(np.array, case.start)
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
                state, _ = case.donating_update(now, state, batch)
        state = case.end_task(key, state, task_data(case.learner, task))
    return state


def test_needs_are_known(case: Case) -> None:
    assert case.learner.needs <= {"task_id", "task_data", "one_task", "mixed_stream"}


def test_training_keeps_tree_shapes_and_dtypes(case: Case) -> None:
    chex.assert_trees_all_equal_shapes_and_dtypes(train(case), case.start)


def test_no_batch_task_or_epoch_traces_anew(case: Case) -> None:
    state = train(case)
    for task in range(NUM_TASKS):
        case.predict(state, make_batch(0).x, jnp.int32(task), KEY)
    assert sorted(case.traces) == ["end_task", "predict", "update"]


def test_a_state_holds_no_buffer_twice_and_can_be_donated(case: Case) -> None:
    state = case.learner.init(KEY, make_batch(0))
    assert_no_buffer_twice(state)
    kept = case.update(KEY, state, make_batch(0))
    assert_same_bits(case.donating_update(KEY, state, make_batch(0)), kept)


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


def test_batched_runs_make_the_updates_that_runs_alone_make(case: Case) -> None:
    """Accelerators batch runs. From the same state both ways agree; over many updates rounding may tell them apart."""
    mesh = run_mesh(
        jax.devices()[:1]
    )  # that runs one by one are as alone is promised of `over_runs`
    batched = over_runs(case.learner.update, mesh, 2, mapping="batched")
    states = [train(case, num_tasks=1)] * 2
    for step in range(2):
        keys = jax.random.split(jax.random.key(step), 2)
        batches = [make_batch(10 * run + step, task=1) for run in range(2)]
        together = [jax.tree.map(lambda *a: np.stack(a), *trees) for trees in (states, batches)]
        updated = batched((keys, *place(tuple(together), mesh)), ())
        alone = [case.update(*run) for run in zip(keys, states, batches, strict=True)]
        assert_close(collect(updated, 2), jax.tree.map(lambda *a: np.stack(a), *alone))
        states = [state for state, _ in alone]


def test_what_stands_in_padding_changes_nothing(case: Case) -> None:
    state = train(case, num_tasks=1)
    batch = make_batch(7, task=1)
    padded = batch._replace(valid=jnp.arange(BATCH_SIZE) < 6)
    garbage = padded._replace(
        x=batch.x.at[6:].set(jnp.nan), y=batch.y.at[6:].set(-9), task=batch.task.at[6:].set(99)
    )
    first, second = (case.update(KEY, state, b) for b in (padded, garbage))
    assert_same_bits(first, second)
    assert differs(first[0], case.update(KEY, state, batch)[0])


def test_padded_batches_teach_what_shorter_ones_do(case: Case) -> None:
    # Settings that depend on the batch's size: pieces of five hold three examples in one, and UCB counts a task's.
    few = {"inner_steps": 1, "kl_weight": 3 / BATCH_SIZE}
    known = inspect.signature(LEARNERS[case.name]).parameters
    keywords = case.keywords | {n: v for n, v in few.items() if n in known}
    shorter = LEARNERS[case.name](MODEL, SETTING._replace(batch_size=3), **keywords)
    state, batch = train(case, num_tasks=1), make_batch(7, task=1)
    padded = batch._replace(valid=jnp.arange(BATCH_SIZE) < 3)
    updated = case.update(KEY, state, padded)
    assert_close(updated, jax.jit(shorter.update)(KEY, state, first_rows(batch, 3)), 1e-6)
    assert differs(updated[0], state)


def test_numpy_batches_are_taken_outside_jit(case: Case) -> None:
    batch = jax.tree.map(np.asarray, make_batch(0))
    state = jax.eval_shape(lambda key: case.learner.init(key, batch), KEY)
    # Not an argument of what is traced, the batch stays numpy's, as outside jit.
    state, _ = jax.eval_shape(lambda key, state: case.learner.update(key, state, batch), KEY, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, case.start)


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


@pytest.mark.parametrize(
    ("name", "keywords"),
    [*((name, {}) for name in LEARNERS), ("meta_bgd", {"redraw_per_sample": False})],
    ids=[*LEARNERS, "meta_bgd-one_draw"],
)
def test_no_key_is_used_twice(name: str, keywords: dict[str, Any]) -> None:
    learner = build(name, **keywords)

    def live(key: chex.PRNGKey, batch: Batch) -> jax.Array:
        keys = jax.random.split(key, 4)
        state, _ = learner.update(keys[1], learner.init(keys[0], batch), batch)
        state = learner.end_task(keys[2], state, task_data(learner, 0))
        return learner.predict(state, batch.x, jnp.int32(0), keys[3])

    with jax.debug_key_reuse(True):
        jax.eval_shape(live, KEY, make_batch(0))
