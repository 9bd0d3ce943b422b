"""What becomes of tasks that come in another order, come back, end twice, or share a batch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BATCH_SIZE,
    CLASSES_PER_TASK,
    MODEL,
    NUM_TASKS,
    SETTING,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
    small_setting,
)

from lamaml_jax import Batch, Learner, hat, icarl, meta_bgd, ucb

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)


def started(learner: Learner) -> Any:
    return jax.jit(learner.init)(KEY, make_batch(0))


def updated(learner: Learner, state: Any, batch: Batch) -> Any:
    return jax.jit(learner.update)(KEY, state, batch)[0]


def halves(first: int, second: int) -> Batch:
    """Return a batch whose first half is of one task and second half of another."""
    one, other = make_batch(0, first), make_batch(1, second)
    rows = {
        name: jnp.concatenate([getattr(one, name)[:5], getattr(other, name)[5:]])
        for name in one._fields[:4]
    }
    return one._replace(**rows)


# HAT


# Task 2 has units 0 to 4, task 0 has units 3 to 5, and task 1 none but the last.
EMBEDDING = np.where(
    np.array([[0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 0, 0, 0]]), 1, -1
)


def hat_after(learner: Learner, *tasks: int) -> Any:
    """Return the state after a step on each of some tasks and its end, with the gates of EMBEDDING."""
    end_task = jax.jit(learner.end_task)
    state = started(learner)
    for task in tasks:
        state = end_task(KEY, updated(learner, state, make_batch(0, task)), None)
    return state._replace(embeddings=(jnp.asarray(EMBEDDING, jnp.float32),))


@pytest.mark.parametrize("binarise", [True, False])
def test_hat_holds_the_weights_of_all_tasks_that_ended_but_the_tasks_own(binarise: bool) -> None:
    learner = hat(MODEL, SETTING, s_max=3.0, binarise=binarise)
    state, update = hat_after(learner, 2, 0), jax.jit(learner.update)
    gates = EMBEDDING > 0 if binarise else 1 / (1 + np.exp(-3.0 * EMBEDDING))
    for task, others in enumerate([[2], [0, 2], [0]]):
        _, info = update(KEY, state, make_batch(0, task))
        assert_close(info["capacity_used"], gates[others].max(axis=0).mean())


def test_hat_lets_a_task_that_comes_back_go_on_and_still_holds_the_others() -> None:
    learner = hat(MODEL, SETTING, binarise=True)
    state = hat_after(learner, 2, 0)
    batch = make_batch(7, 2)
    later = updated(learner, state, batch)
    moved = np.any(later.params["Dense_0"]["kernel"] != state.params["Dense_0"]["kernel"], axis=0)
    assert moved[:3].any()
    assert not moved[3:6].any()
    assert_same_bits(*(learner.predict(s, batch.x, jnp.int32(0)) for s in (state, later)))


def test_hat_takes_no_notice_of_an_end_without_training() -> None:
    learner = hat(MODEL, SETTING)
    start = started(learner)
    assert_same_bits(learner.end_task(KEY, start, None), start)
    state = hat_after(learner, 1)
    assert_same_bits(learner.end_task(KEY, state, None), state)


def test_hat_holds_every_task_trained_before_an_end() -> None:
    learner = hat(MODEL, SETTING)
    state = started(learner)
    for task in (2, 0):
        state = updated(learner, state, make_batch(0, task))
    assert learner.end_task(KEY, state, None).ended.tolist() == [True, False, True]


def test_hat_learns_the_first_of_two_tasks_in_a_step() -> None:
    mixed = halves(2, 1)
    learner = hat(MODEL, SETTING)
    alone = mixed._replace(valid=mixed.task == 2)
    assert_same_bits(*(updated(learner, started(learner), batch) for batch in (mixed, alone)))

    by_one = hat(MODEL, SETTING, examples_per_step=1)
    state = updated(by_one, started(by_one), mixed)
    assert state.trained.tolist() == [False, True, True]
    for task in range(NUM_TASKS):
        rows = [s.embeddings[0][task] for s in (state, started(by_one))]
        assert differs(*rows) == (task != 0)


# iCaRL


def icarl_after(learner: Learner, *tasks: int) -> Any:
    """Return the state after the ends of some tasks, each time with other examples."""
    end_task = jax.jit(learner.end_task)
    state = started(learner)
    for i, task in enumerate(tasks):
        state = end_task(KEY, state, make_batch(20 + i, task, 40))
    return state


def exemplars(state: Any, label: int) -> np.ndarray:
    kept = state.memory
    return np.asarray(kept.x[kept.valid & (kept.y == label)])


def test_icarl_replaces_the_sets_of_a_task_that_ends_again() -> None:
    learner = icarl(MODEL, SETTING, memory=13)
    twice, once = icarl_after(learner, 2, 0, 2), icarl_after(learner, 2, 0)
    fresh = started(learner)
    alone = learner.end_task(KEY, fresh, make_batch(22, 2, 40))
    for label, same in ((0, once), (1, once), (4, alone), (5, alone)):
        kept = exemplars(twice, label)
        assert len(kept) == 13 // 4
        assert_same_bits(kept, exemplars(same, label)[: 13 // 4])
    assert twice.memory.valid.sum() == 12

    everything = icarl_after(learner, 2, 0, 2, 1, 0, 2)
    assert [len(exemplars(everything, label)) for label in range(6)] == [13 // 6] * 6


def test_icarl_distils_all_tasks_that_ended_but_those_of_the_batch() -> None:
    plain, distilling = (
        icarl(MODEL, SETTING, memory=6, memory_strength=strength) for strength in (0.0, 1.0)
    )
    state = icarl_after(plain, 2, 0, 1)
    state = state._replace(params=jax.tree.map(lambda p: p + jnp.sin(50 * p) / 2, state.params))
    updates = jax.jit(plain.update), jax.jit(distilling.update)
    for batch, distilled in (
        (make_batch(0, 2), {0, 1}),
        (make_batch(0, 0), {1, 2}),
        (halves(2, 1), {0}),
    ):
        one, other = (
            update(KEY, state, batch)[0].params["Dense_1"]["kernel"] for update in updates
        )
        differing = np.flatnonzero(np.any(one != other, axis=0))
        assert set(differing // CLASSES_PER_TASK) == distilled


# UCB and Meta-BGD


def test_ucb_draws_the_heads_of_all_tasks_in_a_batch_to_the_prior_and_no_other() -> None:
    learner = ucb(MODEL, SETTING, kl_weight=50.0, mc_samples=1)
    start = started(learner)
    state = updated(learner, start, halves(2, 1))
    before, after = (s.rho["Dense_1"]["bias"] for s in (start, state))
    assert np.repeat([False, True, True], CLASSES_PER_TASK).tolist() == (before != after).tolist()


def test_ucb_knows_no_first_task_but_the_one_that_ends_first() -> None:
    learner = ucb(MODEL, SETTING, lr=0.2, mc_samples=1)
    state = updated(learner, started(learner), make_batch(0, 2))
    assert_same_bits(state.lrs, started(learner).lrs)
    for task in (0, 2):
        state = updated(learner, learner.end_task(KEY, state, None), make_batch(0, task))
        again = learner.end_task(KEY, state, None)
        rates = jax.tree.map(lambda rho: 0.2 * jax.nn.softplus(rho), state.rho)
        assert_close(again.lrs, rates, 1e-6)
        assert_same_bits(learner.end_task(KEY, again, None), again)


@pytest.mark.parametrize("factory", [ucb, meta_bgd])
def test_with_a_shared_head_the_tasks_ids_say_nothing(factory: Any) -> None:
    learner = factory(MODEL, small_setting(per_task=False), mc_samples=1)
    update, end_task = jax.jit(learner.update), jax.jit(learner.end_task)

    def posterior(order: list[Any]) -> Any:
        state = started(learner)
        for i, task in enumerate(order):
            ids = jnp.broadcast_to(jnp.asarray(task, jnp.int32), (BATCH_SIZE,))
            state, _ = update(jax.random.fold_in(KEY, i), state, make_batch(i)._replace(task=ids))
            state = end_task(KEY, state, None)
        return {name: value for name, value in state._asdict().items() if name != "memory"}

    expected = posterior([0, 1, 2, 2])
    assert_same_bits(posterior([2, 0, [1] * 5 + [2] * 5, 0]), expected)


def test_meta_bgd_trains_each_example_of_a_batch_on_its_own_head() -> None:
    learner = meta_bgd(MODEL, SETTING, mc_samples=1)
    start = started(learner)
    state = updated(learner, start, halves(2, 1))
    before, after = (s.mean["Dense_1"]["bias"] for s in (start, state))
    assert np.repeat([False, True, True], CLASSES_PER_TASK).tolist() == (before != after).tolist()
    assert sorted(state.memory.task[:BATCH_SIZE].tolist()) == [1] * 5 + [2] * 5
