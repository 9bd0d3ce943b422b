"""La-ER against the authors' numbers, the update rules it is made of, and ER."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BATCH_SIZE,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
    small_setting,
)

from lamaml_jax import (
    Batch,
    Model,
    descend,
    er,
    hypergradients,
    la_er,
    losses,
    modulated_step,
    networks,
    replay,
    split,
)
from lamaml_jax.updates import clip_by_global_norm

pytestmark = pytest.mark.usefixtures("quick_compile")

VECTORS = Path(__file__).parents[1] / "reference" / "la_er_multi_head.npz"
SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
SMALL: dict[str, Any] = {"memory": 15, "replay_batch": 4, "inner_steps": 2, "glances": 2}
KEY = jax.random.key(0)


def train(learner: Any, num_batches: int = 4) -> Any:
    """Return the state after some batches of the first and second task, from the same keys for all."""
    state = learner.init(KEY, make_batch(0))
    update = jax.jit(learner.update)
    for i in range(num_batches):
        state, _ = update(jax.random.fold_in(KEY, i), state, make_batch(i, task=i % 2))
    return state


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-9), (False, 1e-5)], ids=["x64", "f32"])
def test_it_reproduces_the_authors_numbers(double: bool, tolerance: float) -> None:
    with jax.enable_x64(double), np.load(VECTORS) as vectors:
        config = json.loads(str(vectors["config"]))

        def tree(name: str) -> dict[str, jax.Array]:
            names = [key for key in vectors if key.startswith(f"{name}/")]
            return {k.partition("/")[2]: jnp.asarray(vectors[k], float) for k in names}

        def batch(x: Any, y: Any, task: Any) -> Batch:
            return Batch(jnp.asarray(x, float), *map(jnp.asarray, (y, task)), y >= 0)

        incoming = batch(vectors["x"], vectors["y"], np.full(BATCH_SIZE, config["task"]))
        replayed = batch(vectors["replay_x"], vectors["replay_y"], vectors["replay_task"])
        learner = la_er(
            Model(lambda key, x: tree("params_in"), mlp),
            SETTING,
            draw=lambda key, memory, batch: (incoming, replayed),
            inner_steps=BATCH_SIZE // config["inner_batch"],
            **{k: config[k] for k in ("lr_lr", "glances", "order", "clip_norm")},
            **{k: config[k] for k in ("inner_lr_relu", "inner_clip")},
        )
        state = learner.init(KEY, incoming)._replace(lrs=tree("lrs_in"))
        state, info = jax.jit(learner.update)(KEY, state, incoming)
        assert_close(state.params, tree("params_out"), tolerance)
        assert_close(state.lrs, tree("lrs_out"), tolerance)
        assert_close(info["loss"], vectors["last_loss"], tolerance)


def mlp(params: Any, x: jax.Array) -> jax.Array:
    for i in range(3):
        x = x @ params[f"kernel_{i}"] + params[f"bias_{i}"]
        x = jax.nn.relu(x) if i < 2 else x
    return x


@pytest.mark.parametrize("keywords", [{}, {"replay_batch": 0}, {"glances": 1}], ids=str)
def test_with_one_constant_rate_it_is_er(keywords: dict[str, Any]) -> None:
    """From the same key: with the same draws, shuffles and memory."""
    keywords = SMALL | {"clip_norm": 1.0} | keywords
    rated = train(la_er(MODEL, SETTING, lr_init=0.3, lr_lr=0.0, **keywords))
    del keywords["inner_steps"]
    plain = train(er(MODEL, SETTING, lr=0.3, **keywords))
    assert int(plain.memory.seen) > len(plain.memory.y)
    assert_close(rated.params, plain.params)
    assert_same_bits(rated.memory, plain.memory)


@pytest.mark.parametrize(
    "reading",
    [
        {"order": "second", "inner_lr_relu": False},
        {"inner_lr_relu": True, "clip_norm": None},
        {"inner_lr_relu": False, "inner_clip": 0.02, "inner_steps": 5},
    ],
    ids=str,
)
def test_a_glance_is_a_step_on_the_rates_and_then_one_on_the_weights(
    reading: dict[str, Any],
) -> None:
    values = {"order": "first", "inner_steps": 2, "clip_norm": 0.1, "inner_clip": None} | reading
    batch, replayed = make_batch(0), make_batch(1, task=1, size=4)
    learner = la_er(
        MODEL, SETTING, lr_lr=0.7, glances=1, draw=lambda key, memory, b: (b, replayed), **values
    )
    start = learner.init(KEY, batch)
    signs = jax.tree.map(lambda a: jnp.where(jnp.arange(a.size) % 3 > 0, 1, -1), start.lrs)
    start = start._replace(lrs=jax.tree.map(lambda a, s: a * s.reshape(a.shape), start.lrs, signs))
    state, info = jax.jit(learner.update)(KEY, start, batch)

    loss_fn = losses.task_loss(MODEL.apply, SETTING)
    joint = replay.join(replayed, batch)
    inner_steps, clip_norm = values.pop("inner_steps"), values.pop("clip_norm")

    @jax.jit
    def by_hand(params: Any, lrs: Any) -> tuple[Any, Any, Any]:
        pieces = split(batch, inner_steps)
        _, _, lr_grads = hypergradients(
            loss_fn, params, lrs, pieces, joint, meta_loss_at="last", **values
        )
        lr_grads, lr_norm = clip_by_global_norm(lr_grads, clip_norm)
        lrs = descend(lrs, 0.7, lr_grads)
        loss, grads = jax.value_and_grad(loss_fn)(params, joint)
        grads, norm = clip_by_global_norm(grads, clip_norm)
        expected_info = {"loss": loss, "gradient_norm": norm, "lr_gradient_norm": lr_norm}
        return modulated_step(params, lrs, grads), lrs, expected_info

    assert_close((state.params, state.lrs, info), by_hand(start.params, start.lrs))


def test_a_batch_enters_the_memory_after_its_last_glance_in_every_epoch() -> None:
    learner = la_er(MODEL, SETTING, **SMALL)
    update = jax.jit(learner.update)
    update_alone = jax.jit(la_er(MODEL, SETTING, **SMALL | {"replay_batch": 0}).update)
    batch = make_batch(0)
    start = learner.init(KEY, batch)
    (state, _), (alone, _) = update(KEY, start, batch), update_alone(KEY, start, batch)
    assert_close(state.params, alone.params)  # no glance replayed what was incoming
    assert int(state.memory.seen) == BATCH_SIZE
    assert_same_bits(state.memory.x[:BATCH_SIZE], batch.x)
    again = batch._replace(first_epoch=jnp.asarray(False))
    (later, _), (alone, _) = update(KEY, state, again), update_alone(KEY, state, again)
    assert int(later.memory.seen) == 2 * BATCH_SIZE
    assert differs(later.params, alone.params)
