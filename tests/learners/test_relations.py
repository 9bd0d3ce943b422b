"""What must hold between learners, and between a learner and the update rules it is made of."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest
from helpers import assert_close, assert_same_bits, differs, make_batch, small_setting

from lamaml_jax import (
    LEARNERS,
    Batch,
    Learner,
    c_maml,
    descend,
    er,
    hypergradients,
    la_maml,
    losses,
    modulated_step,
    networks,
    online,
    replay,
    split,
    sync_la_maml,
)
from lamaml_jax.updates import clip_by_global_norm

pytestmark = pytest.mark.usefixtures("quick_compile")

SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
LOSS = losses.task_loss(MODEL.apply, SETTING)
SMALL: dict[str, Any] = {"memory": 15, "replay_batch": 4, "inner_steps": 2, "glances": 2}
KEY = jax.random.key(0)


def update(learner: Learner, batch: Batch, state: Any = None) -> Any:
    """Return the state after one batch, from the learner's first state or another."""
    state = learner.init(KEY, batch) if state is None else state
    return jax.jit(learner.update)(KEY, state, batch)[0]


def train(learner: Learner, num_batches: int = 3) -> Any:
    """Return the state after some batches of the first and second task, from the same keys for all."""
    state = learner.init(KEY, make_batch(0))
    jitted = jax.jit(learner.update)
    for i in range(num_batches):
        state, _ = jitted(jax.random.fold_in(KEY, i), state, make_batch(i, task=i % 2))
    return state


@pytest.mark.parametrize("examples_per_step", [None, 1, 5])
def test_er_without_replay_is_online(examples_per_step: int | None) -> None:
    shared: dict[str, Any] = {"lr": 0.3, "examples_per_step": examples_per_step, "clip_norm": 1.0}
    without = er(MODEL, SETTING, replay_batch=0, shuffle_glances=False, **shared)
    plain = online(MODEL, SETTING, **shared)
    assert_close(train(without).params, train(plain).params, 1e-6)


def test_er_with_an_empty_memory_starts_as_online() -> None:
    plain = train(online(MODEL, SETTING, lr=0.3), num_batches=1).params
    assert_close(train(er(MODEL, SETTING, lr=0.3), num_batches=1).params, plain, 1e-6)
    assert differs(train(er(MODEL, SETTING, lr=0.3)).params, plain)


def test_online_takes_its_pieces_in_order() -> None:
    learner = online(MODEL, SETTING, lr=0.3, examples_per_step=5)
    batch = make_batch(0)
    state = learner.init(KEY, batch)
    params = state.params
    for piece in split(batch, 2):
        params = descend(params, 0.3, jax.jit(jax.grad(LOSS))(params, piece))
    assert_close(update(learner, batch).params, params, 1e-6)


@pytest.mark.parametrize("name", ["la_maml", "sync_la_maml", "c_maml"])
def test_the_first_glance_trains_on_the_incoming_batch_alone(name: str) -> None:
    """With nothing to replay the meta-batch is the incoming batch, not that beside blank images."""
    learner = LEARNERS[name](
        MODEL,
        SETTING,
        **SMALL | {"glances": 1},
        clip_norm=0.1,
        shuffle_glances=False,
    )
    batch = make_batch(0)
    state = learner.init(KEY, batch)
    rates = 0.1 if name == "c_maml" else state.lrs
    by_hand = functools.partial(hypergradients, LOSS, inner_lr_relu=True)
    loss, grads, lr_grads = jax.jit(by_hand)(state.params, rates, split(batch, 2), batch)
    grads, _ = clip_by_global_norm(grads, 0.1)
    lr_grads, _ = clip_by_global_norm(lr_grads, 0.1)
    updated, info = jax.jit(learner.update)(KEY, state, batch)
    assert_close(info["loss"], loss, 1e-6)
    assert min(float(norm) for key, norm in info.items() if "norm" in key) > 0.1  # all are clipped
    if name == "c_maml":
        expected = descend(state.params, 0.1, grads)
    elif name == "sync_la_maml":
        assert_close(updated.lrs, descend(state.lrs, 0.1, lr_grads), 1e-6)
        expected = descend(state.params, 0.3, grads)
    else:
        lrs = descend(state.lrs, 0.3, lr_grads)
        assert_close(updated.lrs, lrs, 1e-6)
        expected = modulated_step(state.params, lrs, grads)
    assert_close(updated.params, expected, 1e-6)


def test_la_maml_whose_rates_are_zero_and_stay_so_changes_only_its_memory() -> None:
    learner = la_maml(MODEL, SETTING, lr_init=0.0, lr_lr=0.0, **SMALL)
    state = learner.init(KEY, make_batch(0))
    trained = train(learner)
    assert_same_bits((trained.params, trained.lrs), (state.params, state.lrs))
    assert int(trained.memory.seen) == 30


def test_la_maml_whose_rates_are_below_zero_moves_no_weight() -> None:
    learner = la_maml(MODEL, SETTING, lr_lr=0.0, **SMALL)
    state = learner.init(KEY, make_batch(0))
    state = state._replace(lrs=jax.tree.map(lambda a: -a, state.lrs))
    assert_same_bits(update(learner, make_batch(0), state).params, state.params)


def test_with_fixed_rates_the_meta_learners_are_c_maml() -> None:
    batch = make_batch(0)
    fixed: dict[str, Any] = SMALL | {"lr_init": 0.2, "lr_lr": 0.0}

    @jax.jit
    def expected(outer_lr: jax.Array) -> Any:
        learner = c_maml(MODEL, SETTING, inner_lr=0.2, outer_lr=outer_lr, **SMALL)
        return learner.update(KEY, learner.init(KEY, batch), batch)[0].params

    la = update(la_maml(MODEL, SETTING, **fixed), batch)
    assert_close(la.params, expected(0.2), 1e-6)
    sync = update(sync_la_maml(MODEL, SETTING, outer_lr=0.05, **fixed), batch)
    assert_close(sync.params, expected(0.05), 1e-6)
    assert differs(la.params, sync.params)


@pytest.mark.parametrize(
    ("name", "settings", "seen"),
    [
        ("la_maml", {"inner_steps": 2, "push_epochs": "first"}, [10, 20, 20]),
        ("la_maml", {"inner_steps": 2, "push_epochs": "every"}, [10, 20, 30]),
        ("er", {}, [10, 20, 30]),
        ("er", {"examples_per_step": 1}, [10, 20, 30]),
    ],
)
def test_an_example_is_remembered_once_per_batch_and_in_which_epochs(
    name: str, settings: dict[str, Any], seen: list[int]
) -> None:
    """Two batches in the first epoch, with three glances each, and then one in the second."""
    learner = LEARNERS[name](MODEL, SETTING, memory=40, glances=3, **settings)
    batches = [make_batch(i, first_epoch=jnp.asarray(i < 2)) for i in range(3)]
    state = learner.init(KEY, batches[0])
    jitted = jax.jit(learner.update)
    counts = []
    for batch in batches:
        state, _ = jitted(KEY, state, batch)
        counts.append(int(state.memory.seen))
    assert counts == seen
    pushed = jax.tree.map(
        lambda *rows: jnp.concatenate(rows)[: seen[-1]], *[b[:3] for b in batches]
    )
    assert_same_bits(tuple(a[: seen[-1]] for a in state.memory[:3]), pushed)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("la_maml", {"inner_steps": 2}, [0, 10, 10]),
        ("er", {}, [0, 0, 0]),
        ("er", {"examples_per_step": 5}, [0, 0, 0, 5, 5, 5]),
    ],
)
def test_when_an_example_can_first_be_replayed(
    name: str, settings: dict[str, Any], expected: list[int]
) -> None:
    """A meta-learner's later glances may replay the incoming batch; ER remembers after the last."""
    seen: list[int] = []

    def draw(key: chex.PRNGKey, memory: replay.Memory, batch: Batch) -> tuple[Batch, Batch]:
        jax.debug.callback(lambda count: seen.append(int(count)), memory.seen, ordered=True)
        return replay.draw(key, memory, batch, size=4)

    learner = LEARNERS[name](MODEL, SETTING, memory=15, glances=3, draw=draw, **settings)
    update(learner, make_batch(0))
    jax.effects_barrier()
    assert seen == expected


@pytest.mark.parametrize(("name", "settings"), [("la_maml", {"inner_steps": 2}), ("er", {})])
def test_every_glance_draws_with_a_key_of_its_own(name: str, settings: dict[str, Any]) -> None:
    drawn: list[int] = []

    def draw(key: chex.PRNGKey, memory: replay.Memory, batch: Batch) -> tuple[Batch, Batch]:
        number = jax.random.randint(key, (), 0, 10**9)
        jax.debug.callback(lambda value: drawn.append(int(value)), number, ordered=True)
        return replay.draw(key, memory, batch, size=4)

    learner = LEARNERS[name](MODEL, SETTING, memory=15, glances=3, draw=draw, **settings)
    batch = make_batch(0)
    jitted = jax.jit(learner.update)
    for seed in range(2):
        jitted(jax.random.key(seed), learner.init(KEY, batch), batch)
    jax.effects_barrier()
    assert len(set(drawn)) == 6
