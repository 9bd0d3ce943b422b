"""HAT: its step by hand, what it promises earlier tasks, and what is left of it with open gates."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BATCH_SIZE,
    CLASSES_PER_TASK,
    NUM_FEATURES,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
    small_setting,
)

from lamaml_jax import Batch, Learner, Model, hat, losses, networks, online
from lamaml_jax.learners.hat import HatState
from lamaml_jax.learners.online import OnlineState

pytestmark = pytest.mark.usefixtures("quick_compile")

SETTING = small_setting()
MLP = networks.mlp(SETTING.num_classes, hidden=(20, 16))
CONVNET = networks.convnet(SETTING.num_classes, filters=(8, 8), hidden=(12,))
KEY = jax.random.key(0)
NUM_BATCHES = SETTING.batches_per_epoch
LAST = (NUM_BATCHES - 1) / NUM_BATCHES

every_model = pytest.mark.parametrize("model", [MLP, CONVNET], ids=["mlp", "convnet"])


def batches(model: Model, task: int) -> Batch:
    """Return an epoch of a learnable task, stacked; for the convolutional network each input is a small image."""
    epoch = [make_batch(i, task, progress=jnp.float32(i / NUM_BATCHES)) for i in range(NUM_BATCHES)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *epoch)
    sign = 2 * (stacked.y - CLASSES_PER_TASK * task) - 1
    pattern = jax.random.normal(jax.random.key(50 + task), (NUM_FEATURES,))
    stacked = stacked._replace(x=stacked.x + sign[..., None] * pattern)
    if model is MLP:
        return stacked
    images = jnp.tile(stacked.x, 3).reshape(NUM_BATCHES, BATCH_SIZE, 6, 6, 1)
    return stacked._replace(x=images)


def trainer(learner: Learner, model: Model, epochs: int = 100) -> Callable[[HatState, int], Any]:
    """Return `train(state, task)`: the state after some epochs of a task and its end, compiled once for all tasks."""

    @jax.jit
    def run(state: HatState, epoch: Batch) -> HatState:
        def one_batch(state: HatState, batch: Batch) -> tuple[HatState, None]:
            return learner.update(KEY, state, batch)[0], None

        def one_epoch(state: HatState, _: None) -> tuple[HatState, None]:
            return jax.lax.scan(one_batch, state, epoch)

        state, _ = jax.lax.scan(one_epoch, state, length=epochs)
        return learner.end_task(KEY, state, None)

    return lambda state, task: run(state, batches(model, task))


def start(learner: Learner, model: Model) -> HatState:
    return learner.init(KEY, jax.tree.map(lambda a: a[0], batches(model, 0)))


def accuracy(learner: Learner, model: Model, state: HatState, task: int) -> float:
    epoch = batches(model, task)
    x, y = (a.reshape(-1, *a.shape[2:]) for a in (epoch.x, epoch.y))
    return float((learner.predict(state, x, jnp.int32(task)).argmax(axis=1) == y).mean())


@every_model
@pytest.mark.parametrize(
    ("binarise", "lr", "sparsity"),
    [(True, 0.1, 0.1), (False, 0.1, 0.1), (False, 0.1, 0.75)],
)
def test_later_tasks_leave_earlier_ones_their_logits(
    model: Model, binarise: bool, lr: float, sparsity: float
) -> None:
    """In any order of the tasks; in the soft form also at a preset's settings."""
    learner = hat(model, SETTING, lr=lr, sparsity=sparsity, binarise=binarise)
    predict = jax.jit(learner.predict)
    x = batches(model, 0).x[0]
    state, train = start(learner, model), trainer(learner, model)
    promised = {}
    for task in (2, 0, 1):
        before = state
        state = train(state, task)
        assert differs(state.params, before.params)
        promised[task] = predict(state, x, jnp.int32(task))
        for earlier in promised:
            logits = predict(state, x, jnp.int32(earlier))
            if binarise:
                assert_same_bits(logits, promised[earlier])
            else:
                own = SETTING.class_mask[earlier]
                np.testing.assert_allclose(logits[:, own], promised[earlier][:, own], atol=1e-3)
    assert accuracy(learner, model, state, 2) > 0.8  # the promise is not kept by learning nothing


@every_model
def test_weights_that_an_earlier_task_uses_do_not_move(model: Model) -> None:
    learner = hat(model, SETTING, lr=0.1, sparsity=0.1, binarise=True)
    train = trainer(learner, model)
    state = train(start(learner, model), 0)
    mask = [(e[0] > 0).astype(float) for e in state.embeddings]
    assert model.gate_params is not None
    used: Any = model.gate_params(state.params, mask)
    later: Any = train(state, 1).params
    *hidden, output = state.params
    for name in hidden:
        for kind in ("kernel", "bias"):
            held = np.asarray(used[name][kind] == 1)
            moved = np.asarray(later[name][kind] != state.params[name][kind])
            assert held.any()
            assert not moved[held].any()
    own = slice(0, CLASSES_PER_TASK)
    jax.tree.map(
        lambda old, new: assert_same_bits(new[..., own], old[..., own]),
        state.params[output],
        later[output],
    )


@jax.enable_x64(True)
def reference_step(
    state: HatState, batch: Batch, task: int, s: float, s_max: float, sparsity: float, lr: float
) -> tuple[Any, list[np.ndarray]]:
    """Return weights and a task's embedding after one step where task 0 has ended, from the paper's equations."""
    state = jax.tree.map(lambda a: np.asarray(a, np.float64), state)
    first, second = (1 / (1 + np.exp(-s_max * e[0])) for e in state.embeddings)
    mask = np.concatenate([first, second])

    def loss(params: Any, embedding: list[jax.Array]) -> jax.Array:
        gates = [1 / (1 + jnp.exp(-s * e)) for e in embedding]

        def apply(params: Any, x: jax.Array) -> jax.Array:
            h = jax.nn.relu(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]) * gates[0]
            h = jax.nn.relu(h @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]) * gates[1]
            return h @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]

        entropy = losses.task_loss(apply, SETTING)(params, batch)
        return entropy + sparsity * (jnp.concatenate(gates) * (1 - mask)).sum() / (1 - mask).sum()

    embedding = [e[task] for e in state.embeddings]
    grads, embedding_grads = jax.grad(loss, argnums=(0, 1))(state.params, embedding)
    grads["Dense_0"]["kernel"] *= 1 - first[None, :]
    grads["Dense_0"]["bias"] *= 1 - first
    grads["Dense_1"]["kernel"] *= 1 - np.minimum(first[:, None], second[None, :])
    grads["Dense_1"]["bias"] *= 1 - second
    compensated = [
        g * s_max / s * (np.cosh(np.clip(s * e, -50, 50)) + 1) / (np.cosh(e) + 1)
        for g, e in zip(embedding_grads, embedding, strict=True)
    ]
    is_open = [np.float32(1 / (1 + np.exp(-s * e))) == 1 for e in embedding]
    compensated = [np.where(o, 0, g) for o, g in zip(is_open, compensated, strict=True)]
    params = jax.tree.map(lambda p, g: p - lr * g, state.params, grads)
    pairs = zip(embedding, compensated, strict=True)
    return params, [np.clip(e - lr * g, -6, 6) for e, g in pairs]


def ended(state: HatState, task: int, s_max: float) -> HatState:
    """Return the state where a task has ended, with final gates that are uniform in (0, 1)."""
    rng = np.random.default_rng(0)
    gates = [rng.uniform(size=len(e[task])) for e in state.embeddings]
    pairs = zip(state.embeddings, gates, strict=True)
    return state._replace(
        embeddings=tuple(e.at[task].set(np.log(a / (1 - a)) / s_max) for e, a in pairs),
        ended=state.ended.at[task].set(True),
    )


@pytest.mark.parametrize(("index", "s"), [(0, 1 / 40), (1, 1 / 40 + 39.975 / 3), (3, 40.0)])
def test_a_step_is_the_papers(index: int, s: float) -> None:
    learner = hat(MLP, SETTING, lr=0.2, s_max=40.0, sparsity=0.6)
    state = ended(learner.init(KEY, make_batch(0)), 0, s_max=40.0)
    batch = make_batch(3, task=1, progress=jnp.float32(index / NUM_BATCHES))
    updated, info = jax.jit(learner.update)(KEY, state, batch)
    params, embedding = reference_step(state, batch, 1, s, 40.0, 0.6, 0.2)
    assert_close(updated.params, params)
    assert_close([e[1] for e in updated.embeddings], embedding, tolerance=1e-5)
    assert differs(updated.embeddings, state.embeddings)
    others = [tuple(e[jnp.array([0, 2])] for e in s.embeddings) for s in (updated, state)]
    assert_same_bits(*others)
    mask = jax.nn.sigmoid(40.0 * jnp.concatenate([e[0] for e in state.embeddings]))
    assert_close(info["capacity_used"], mask.mean(), tolerance=1e-6)


def test_the_compensation_is_finite_where_its_cosh_would_not_be() -> None:
    learner = hat(MLP, SETTING, lr=0.1, s_max=400.0)
    state = learner.init(KEY, make_batch(0))
    far = tuple(jnp.full_like(e, -6) for e in state.embeddings)
    state, info = learner.update(
        KEY, state._replace(embeddings=far), make_batch(0, progress=jnp.float32(LAST))
    )
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((state, info)))


def test_embeddings_stay_within_six() -> None:
    learner = hat(MLP, SETTING, lr=100.0)
    state, _ = learner.update(KEY, learner.init(KEY, make_batch(0)), make_batch(0))
    rows = np.concatenate([e[0] for e in state.embeddings])
    assert np.abs(rows).max() == 6


@pytest.mark.parametrize("examples_per_step", [None, 5])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_with_open_gates_it_is_online(
    examples_per_step: int | None, clip_norm: float | None
) -> None:
    """Embeddings at their upper limit, s at s_max, no regulariser: every gate is exactly 1 and has no gradient."""
    shared: dict[str, Any] = {
        "lr": 0.3,
        "examples_per_step": examples_per_step,
        "clip_norm": clip_norm,
    }
    gated, plain = hat(MLP, SETTING, sparsity=0.0, **shared), online(MLP, SETTING, **shared)
    state: HatState = gated.init(KEY, make_batch(0))
    opened = tuple(jnp.full_like(e, 6) for e in state.embeddings)
    state = state._replace(embeddings=opened)
    expected = OnlineState(state.params)
    for i in range(3):
        batch = make_batch(i, progress=jnp.float32(LAST))
        state, _ = jax.jit(gated.update)(KEY, state, batch)
        expected, _ = jax.jit(plain.update)(KEY, expected, batch)
    assert_close(state.params, expected.params, tolerance=1e-6)
    assert_same_bits(state.embeddings, opened)
    x = make_batch(9).x
    assert_close(
        gated.predict(state, x, jnp.int32(0)), plain.predict(expected, x, jnp.int32(0)), 1e-6
    )


def test_batches_without_progress_anneal_by_their_number() -> None:
    learner = hat(MLP, SETTING)
    update, end_task = jax.jit(learner.update), jax.jit(learner.end_task)
    told = untold = learner.init(KEY, make_batch(0))
    for task in range(2):
        for i in range(2 * NUM_BATCHES):  # two epochs
            progress = jnp.float32(i % NUM_BATCHES / NUM_BATCHES)
            told, _ = update(KEY, told, make_batch(i, task, progress=progress))
            untold, _ = update(KEY, untold, make_batch(i, task, progress=None))
            nothing = make_batch(i, task, progress=None, valid=jnp.zeros(BATCH_SIZE, bool))
            untold, _ = update(KEY, untold, nothing)
        told, untold = (end_task(KEY, state, None) for state in (told, untold))
    assert_close(untold, told, 1e-6)


def test_where_an_epoch_is_one_batch_the_slope_is_the_highest() -> None:
    one = hat(MLP, SETTING._replace(batches_per_epoch=1))
    four = hat(MLP, SETTING)
    state = one.init(KEY, make_batch(0))
    last = make_batch(0, progress=jnp.float32(LAST))
    assert_close(one.update(KEY, state, make_batch(0)), four.update(KEY, state, last), 1e-6)


@pytest.mark.parametrize("binarise", [True, False])
def test_a_task_never_trained_is_predicted_through_its_initial_embedding(binarise: bool) -> None:
    learner = hat(MLP, SETTING, binarise=binarise, s_max=2.0)
    state: HatState = learner.init(KEY, make_batch(0))
    rows = [e[2] for e in state.embeddings]
    gates = [(e > 0).astype(e.dtype) if binarise else jax.nn.sigmoid(2 * e) for e in rows]
    x = make_batch(0).x
    own = SETTING.class_mask[2]
    assert_close(
        learner.predict(state, x, jnp.int32(2))[:, own],
        MLP.apply(state.params, x, gates=gates)[:, own],
    )


def test_examples_that_are_all_padding_change_nothing() -> None:
    learner = hat(MLP, SETTING)
    state = learner.init(KEY, make_batch(0))
    padding = make_batch(0, task=1, valid=jnp.zeros(BATCH_SIZE, bool))
    assert_same_bits(learner.update(KEY, state, padding)[0], state)


def test_a_network_all_of_whose_units_are_taken_still_learns_its_head() -> None:
    learner = hat(MLP, SETTING)
    state: HatState = learner.init(KEY, make_batch(0))
    taken = tuple(e.at[0].set(6) for e in state.embeddings)  # sigmoid(400 * 6) is 1
    state = state._replace(embeddings=taken, ended=state.ended.at[0].set(True))
    updated, info = learner.update(KEY, state, make_batch(0, task=1))
    assert np.isfinite(info["loss"])
    *hidden, output = state.params
    assert_same_bits([updated.params[n] for n in hidden], [state.params[n] for n in hidden])
    assert differs(updated.params[output], state.params[output])


def test_a_model_without_gates_is_refused() -> None:
    bare = Model(MLP.init, MLP.apply)
    with pytest.raises(ValueError, match=r"model has no gates; it must have gate_sizes"):
        hat(bare, SETTING)
