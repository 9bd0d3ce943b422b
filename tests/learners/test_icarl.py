"""iCaRL: herding, equal shares, nearest mean and distillation, each by hand."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BATCH_SIZE,
    CLASSES_PER_TASK,
    NUM_TASKS,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
    small_setting,
)

from lamaml_jax import Batch, Learner, Model, icarl, losses, networks, online
from lamaml_jax.learners.icarl import IcarlState
from lamaml_jax.learners.online import OnlineState
from lamaml_jax.learners.parts.exemplars import herd

pytestmark = pytest.mark.usefixtures("quick_compile")

SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
KEY = jax.random.key(0)
USUAL = icarl(MODEL, SETTING, memory=20)


@functools.cache
def jitted(learner: Learner) -> tuple[Any, Any, Any]:
    return jax.jit(learner.init), jax.jit(learner.update), jax.jit(learner.end_task)


@functools.cache
def train(learner: Learner, num_tasks: int) -> IcarlState:
    """Return the state after two batches and the end of each of some tasks."""
    init, update, end_task = jitted(learner)
    if num_tasks == 0:
        return init(KEY, make_batch(0))
    state, task = train(learner, num_tasks - 1), num_tasks - 1
    for i in range(2):
        state, _ = update(jax.random.fold_in(KEY, i), state, make_batch(i, task))
    return end_task(KEY, state, make_batch(99, task, 40))


def shaken(state: IcarlState) -> IcarlState:
    """Return the state with weights whose outputs on the exemplars are no longer the targets."""
    return state._replace(params=jax.tree.map(lambda p: p + jnp.sin(50 * p) / 2, state.params))


def test_herding_keeps_the_mean_nearest_by_hand() -> None:
    features = jnp.array([[0.0], [2.0], [8.0], [2.1]])
    picks, found = herd(features, jnp.array([[True, True, True, False]]), 4)
    # The mean is 10/3. First 2, the nearest; 0 would bring the mean to 1, 8 to 5, which is nearer; 0 is left.
    assert picks[:3, 0].tolist() == [1, 2, 0]
    assert found[:, 0].tolist() == [True, True, True, False]


def test_herding_looks_at_each_class_alone_and_at_an_example_once() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 5)).astype(np.float32)
    members = rng.integers(3, size=30) == np.arange(4)[:, None]  # the last class is empty
    picks, found = herd(jnp.asarray(features), jnp.asarray(members), 6)
    for c in range(3):
        mean, chosen = features[members[c]].mean(axis=0), []
        for k in range(1, 7):
            left = [i for i in np.flatnonzero(members[c]) if i not in chosen]
            total = features[chosen].sum(axis=0)
            chosen.append(min(left, key=lambda i: np.linalg.norm(mean - (features[i] + total) / k)))
        assert picks[:, c].tolist() == chosen
    assert not found[:, 3].any()


@pytest.mark.parametrize("memory", [12, 13, 40])
def test_classes_share_the_memory_equally_and_keep_their_first_exemplars(memory: int) -> None:
    learner = icarl(MODEL, SETTING, memory=memory)
    first = train(learner, 1).memory
    for num_tasks in range(1, NUM_TASKS + 1):
        kept = train(learner, num_tasks).memory
        num_classes = num_tasks * CLASSES_PER_TASK
        share = memory // num_classes
        sizes = [np.sum(kept.y[kept.valid] == c) for c in range(SETTING.num_classes)]
        of_task = [np.sum(make_batch(99, t, 40).y == 2 * t + c) for t in range(3) for c in range(2)]
        expected = [min(share, n) for n in of_task[:num_classes]]
        assert sizes == expected + [0] * (SETTING.num_classes - num_classes)
        assert_same_bits(kept.task, kept.y // CLASSES_PER_TASK)
        for c in range(CLASSES_PER_TASK):
            mine, before = (m.x[m.valid & (m.y == c)] for m in (kept, first))
            assert_same_bits(mine, before[: len(mine)])


def test_every_exemplar_is_an_example_of_its_class_and_has_the_networks_outputs() -> None:
    state = train(USUAL, NUM_TASKS)
    kept = state.memory
    logits = np.asarray(MODEL.apply(state.params, kept.x))
    for i in np.flatnonzero(kept.valid):
        data = make_batch(99, int(kept.task[i]), 40)
        row = np.flatnonzero(np.all(data.x == kept.x[i], axis=1))
        assert data.y[row[0]] == kept.y[i]
        own = SETTING.class_mask[kept.task[i]]
        assert_close(kept.targets[i], np.asarray(jax.nn.softmax(logits[i, own])))


def test_the_exemplars_are_those_that_herding_picks() -> None:
    state = train(USUAL, 1)
    data = make_batch(99, 0, 40)
    assert MODEL.features is not None
    features = MODEL.features(state.params, data.x)
    features /= jnp.linalg.norm(features, axis=1, keepdims=True)
    picks, _ = herd(features, data.y == jnp.arange(2)[:, None], 10)
    assert_same_bits(state.memory.x[:10], data.x[picks[:, 0]])
    assert_same_bits(state.memory.x[10:], data.x[picks[:, 1]])


def test_padding_is_not_herded() -> None:
    data = make_batch(99, 1, 40)
    valid = jnp.arange(40) >= 30
    padded = data._replace(valid=valid, task=jnp.where(valid, data.task, 0))
    kept = jitted(USUAL)[2](KEY, train(USUAL, 0), padded).memory
    assert kept.valid.sum() == 10
    assert_same_bits(jnp.unique(kept.task[kept.valid]), jnp.array([1]))


def nearest_mean(model: Model, state: IcarlState, x: jax.Array, task: int, features: str) -> Any:
    """Return the class of each input by a loop over the task's classes."""

    def embed(x: jax.Array) -> np.ndarray:
        if features == "logits":
            return np.asarray(model.apply(state.params, x))
        assert model.features is not None
        f = np.asarray(model.features(state.params, x))
        return f / np.linalg.norm(f, axis=1, keepdims=True)

    distances = []
    for c in np.flatnonzero(SETTING.class_mask[task]):
        kept = state.memory
        mean = embed(kept.x[kept.valid & (kept.y == c)]).mean(axis=0)
        if features == "penultimate":
            mean = mean / np.linalg.norm(mean)
        distances.append(((embed(x) - mean) ** 2).sum(axis=1))
    return np.stack(distances, axis=1)


@pytest.mark.parametrize("features", ["penultimate", "logits"])
def test_scores_are_minus_the_squared_distances_to_the_means(features: Any) -> None:
    learner = icarl(MODEL, SETTING, memory=20, features=features)
    state = train(learner, NUM_TASKS)
    x = make_batch(5, size=7).x
    for task in range(NUM_TASKS):
        scores = learner.predict(state, x, jnp.int32(task))
        own = SETTING.class_mask[task]
        assert_close(-scores[:, own], nearest_mean(MODEL, state, x, task, features), 1e-4)
        assert np.all(np.asarray(scores)[:, ~own] == -np.inf)


def test_logits_are_herded_over_the_tasks_own_head() -> None:
    learner = icarl(MODEL, SETTING, memory=20, features="logits")
    state = train(learner, 1)
    data = make_batch(99, 0, 40)
    own = MODEL.apply(state.params, data.x)[:, :CLASSES_PER_TASK]
    picks, _ = herd(own, data.y == jnp.arange(2)[:, None], 10)
    assert_same_bits(state.memory.x[:10], data.x[picks[:, 0]])


def test_classes_never_seen_have_uniform_scores() -> None:
    x = make_batch(0).x
    state = train(USUAL, 2)
    unseen = USUAL.predict(state, x, jnp.int32(2))[:, SETTING.class_mask[2]]
    assert np.all(np.isfinite(unseen))
    assert len(np.unique(unseen)) == 1
    assert len(np.unique(USUAL.predict(state, x, jnp.int32(1))[:, SETTING.class_mask[1]])) > 1


def test_a_class_without_examples_is_never_predicted() -> None:
    data = make_batch(99, 0, 40)
    only_second = data._replace(valid=data.y == 1)
    state = jitted(USUAL)[2](KEY, train(USUAL, 0), only_second)
    scores = USUAL.predict(state, data.x, jnp.int32(0))
    assert np.all(scores.argmax(axis=1) == 1)


def test_before_a_task_has_ended_it_is_online() -> None:
    learner, plain = icarl(MODEL, SETTING, lr=0.3), online(MODEL, SETTING, lr=0.3)
    state = train(learner, 0)
    expected = OnlineState(state.params)
    update, plain_update = (jax.jit(method.update) for method in (learner, plain))
    for i in range(3):
        state, _ = update(KEY, state, make_batch(i))
        expected, _ = plain_update(KEY, expected, make_batch(i))
    assert_close(state.params, expected.params, tolerance=1e-6)


def test_a_step_adds_the_divergence_on_one_exemplar_per_old_class() -> None:
    """With one exemplar per class there is no choice, and the loss can be written out."""
    strength, lr = 0.7, 0.2
    learner = icarl(MODEL, SETTING, lr=lr, memory=6, memory_strength=strength)
    state = train(learner, 2)
    state, batch, kept = shaken(state), make_batch(7, task=2), state.memory

    def loss(params: Any) -> jax.Array:
        total = losses.task_loss(MODEL.apply, SETTING)(params, batch)
        for task in range(2):
            for c in np.flatnonzero(SETTING.class_mask[task]):
                (row,) = np.flatnonzero(kept.valid & (kept.y == c))
                logits = MODEL.apply(params, kept.x[row][None])[0][SETTING.class_mask[task]]
                q = kept.targets[row]
                divergence = (q * (jnp.log(q) - jax.nn.log_softmax(logits))).sum()
                total += strength * divergence / CLASSES_PER_TASK
        return total

    value, grads = jax.value_and_grad(loss)(state.params)
    updated, info = jitted(learner)[1](KEY, state, batch)
    assert float(info["loss"]) == pytest.approx(float(value), rel=1e-5)
    assert_close(updated.params, jax.tree.map(lambda p, g: p - lr * g, state.params, grads))
    assert float(value) > 1.01 * float(losses.task_loss(MODEL.apply, SETTING)(state.params, batch))


def test_distillation_reaches_the_logits_of_old_tasks_only() -> None:
    state = shaken(train(USUAL, 1))
    learner = icarl(MODEL, SETTING, memory=20, lr=0.5)
    updated, _ = jitted(learner)[1](KEY, state, make_batch(0, task=1))
    before, after = (s.params["Dense_1"]["kernel"] for s in (state, updated))
    moved = np.any(before != after, axis=0)
    assert moved.tolist() == [True, True, True, True, False, False]


def test_exemplars_are_drawn_anew_for_every_step_from_all_of_a_class() -> None:
    state, update = shaken(train(USUAL, 1)), jitted(USUAL)[1]
    seen = {
        float(update(jax.random.key(i), state, make_batch(0, task=1))[1]["loss"]) for i in range(8)
    }
    assert len(seen) > 4


def test_examples_that_are_all_padding_change_nothing() -> None:
    state = shaken(train(USUAL, 1))
    padding = make_batch(0, task=1, valid=jnp.zeros(BATCH_SIZE, bool))
    assert_same_bits(jitted(USUAL)[1](KEY, state, padding)[0], state)
    nothing = make_batch(99, 1, 40, valid=jnp.zeros(40, bool))
    assert_same_bits(jitted(USUAL)[2](KEY, state, nothing), state)


def test_one_task_alone_has_nothing_to_distil() -> None:
    setting = SETTING._replace(num_tasks=1, num_classes=2, class_mask=np.ones((1, 2), bool))
    model = networks.mlp(2, hidden=(16,))
    learner = icarl(model, setting, memory=4)
    init, update, end_task = jitted(learner)
    state = shaken(end_task(KEY, init(KEY, make_batch(0)), make_batch(99, 0, 40)))
    updated, info = update(KEY, state, make_batch(0))
    loss = losses.task_loss(model.apply, setting)(state.params, make_batch(0))
    assert_close(info["loss"], loss, 1e-6)
    assert differs(updated, state)


def test_it_works_with_images_and_a_convolutional_network() -> None:
    def images(batch: Batch) -> Batch:
        return batch._replace(x=jnp.tile(batch.x, 3).reshape(-1, 6, 6, 1))

    learner = icarl(networks.convnet(6, filters=(3,), hidden=(5,)), SETTING, memory=12)
    init, update, end_task = jitted(learner)
    state = end_task(KEY, init(KEY, images(make_batch(0))), images(make_batch(99, 0, 40)))
    state, _ = update(KEY, state, images(make_batch(0, 1)))
    assert np.isfinite(learner.predict(state, images(make_batch(1)).x, jnp.int32(0))[:, :2]).all()


def test_classes_that_find_no_slot_have_no_exemplar_and_are_not_predicted() -> None:
    learner = icarl(MODEL, SETTING, memory=4)
    state = train(learner, 3)
    assert sorted(state.memory.y[state.memory.valid].tolist()) == [0, 1, 2, 3]
    scores = learner.predict(state, make_batch(1, 2).x, jnp.int32(2))[:, 4:]
    assert np.all(scores == np.finfo(np.float32).min)
    state, info = jitted(learner)[1](KEY, state, make_batch(1, 2))
    assert np.isfinite(info["loss"])


def test_a_model_without_features_and_a_memory_too_small_are_refused() -> None:
    bare = Model(MODEL.init, MODEL.apply)
    with pytest.raises(ValueError, match="features is 'penultimate'; it must be 'logits'"):
        icarl(bare, SETTING)
    icarl(bare, SETTING, features="logits")
    with pytest.raises(ValueError, match="memory is 1; it must be an integer >= 2"):
        icarl(MODEL, SETTING, memory=1)
    uneven = SETTING._replace(class_mask=SETTING.class_mask | (np.arange(6) == 0))
    with pytest.raises(ValueError, match="class_mask has from 2 to 3 classes per task"):
        icarl(MODEL, uneven)
