"""BGD and Meta-BGD: the authors' numbers, a step by hand, and what they are without noise."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import (
    NUM_TASKS,
    assert_close,
    assert_no_buffer_twice,
    assert_same_bits,
    differs,
    make_batch,
    small_setting,
)

from lamaml_jax import (
    Batch,
    Learner,
    Model,
    Setting,
    bgd,
    c_maml,
    la_maml,
    meta_bgd,
    networks,
    online,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

REFERENCE = Path(__file__).parents[1] / "reference" / "meta_bgd_multi_head.npz"
SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
KEY = jax.random.key(0)
ONE_TASK = Setting(1, 2, np.ones((1, 2), bool), batch_size=2, batches_per_epoch=1)


def zero_noise(key: Any, sample: jax.Array, mean: Any) -> Any:
    return optax.tree.zeros_like(mean)


def update(learner: Learner, *batches: Batch) -> tuple[Any, Any]:
    """Return the states before and after some batches."""
    start = state = learner.init(KEY, batches[0])
    for i, batch in enumerate(batches):
        state, _ = jax.jit(learner.update)(jax.random.fold_in(KEY, i), state, batch)
    return start, state


def batch_of(x: Any, y: Any, task: Any) -> Batch:
    x = jnp.asarray(x, jnp.result_type(float))
    return Batch(x, jnp.asarray(y), jnp.asarray(task), valid=jnp.ones(len(y), bool))


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-9), (False, 1e-5)], ids=["x64", "f32"])
def test_meta_bgd_reproduces_the_authors_numbers(double: bool, tolerance: float) -> None:
    with jax.enable_x64(double), np.load(REFERENCE) as vectors:
        config = json.loads(str(vectors["config"]))

        def tree(name: str, suffix: str = "") -> dict[str, jax.Array]:
            names = [key for key in vectors if key.startswith(name) and key.endswith(suffix)]
            return {n.split("/")[1]: jnp.asarray(vectors[n], jnp.result_type(float)) for n in names}

        def apply(params: Any, x: jax.Array) -> jax.Array:
            for i in range(3):
                x = x @ params[f"kernel_{i}"] + params[f"bias_{i}"]
                x = jax.nn.relu(x) if i < 2 else x
            return x

        size = len(vectors["y"])
        assert config["inner_steps"] * config["inner_batch"] == size
        incoming = batch_of(vectors["x"], vectors["y"], np.full(size, config["task"]))
        replayed = batch_of(vectors["replay_x"], vectors["replay_y"], vectors["replay_task"])
        eps = [tree("eps/", f"/{sample}") for sample in range(config["mc_samples"])]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *eps)
        settings = ("mean_eta", "std_init", "mc_samples", "inner_lr", "inner_steps", "order")
        learner = meta_bgd(
            Model(lambda key, x: tree("mean_in"), apply),
            Setting(3, 6, SETTING.class_mask, size, batches_per_epoch=1),
            glances=1,
            draw=lambda key, memory, batch: (incoming, replayed),
            noise=lambda key, sample, mean: jax.tree.map(lambda leaf: leaf[sample], stacked),
            **{name: config[name] for name in (*settings, "clip_norm", "inner_clip")},
        )
        _, state = update(learner, incoming)
        assert state.std["kernel_0"].dtype == (jnp.float64 if double else jnp.float32)
        assert_close(state.mean, tree("mean_out"), tolerance)
        assert_close(state.std, tree("std_out"), tolerance)


def test_a_step_on_one_weight_by_hand() -> None:
    def apply(params: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.stack([params * x, jnp.zeros_like(x)], axis=-1)

    x, eps, mean, std = np.array([1.0, 3.0]), np.array([0.5, -2.0]), 0.3, 0.5
    learner = bgd(
        Model(lambda key, x: jnp.float32(mean), apply),
        ONE_TASK,
        mean_eta=5.0,
        std_init=std,
        mc_samples=2,
        noise=lambda key, sample, mean: jnp.float32(eps)[sample],
    )
    _, state = update(learner, batch_of(x, [0, 1], [0, 0]))

    # The gradient of the summed cross-entropy at each sample of the weight: (p - label) x.
    probability = 1 / (1 + np.exp(-np.outer(mean + std * eps, x)))
    gradient = ((probability - [1, 0]) * x).sum(axis=1)
    drift = (gradient * eps).mean()
    assert_close(state.mean, mean - 5.0 * std**2 * gradient.mean())
    expected = std * np.sqrt(1 + (std * drift / 2) ** 2) - std**2 * drift / 2
    assert_close(state.std, expected)
    assert abs(expected - std) > 0.01


@pytest.mark.parametrize("factory", [bgd, meta_bgd])
def test_vanishing_deviations_freeze_the_mean(factory: Any) -> None:
    batches = [make_batch(i) for i in range(3)]
    start, state = update(factory(MODEL, SETTING, std_init=1e-12), *batches)
    assert_close(state.mean, start.mean, 1e-18)
    start, state = update(factory(MODEL, SETTING, std_init=0.1), *batches)
    assert differs(state.mean, start.mean)


@pytest.mark.parametrize("examples_per_step", [None, 1, 5])
def test_bgd_without_noise_is_online(examples_per_step: int | None) -> None:
    batches = [make_batch(i, task=i) for i in range(NUM_TASKS)]
    shared: dict[str, Any] = {"examples_per_step": examples_per_step, "clip_norm": 0.5}
    settings: dict[str, Any] = {"mean_eta": 3.0, "std_init": 0.1, "mc_samples": 3}
    start, state = update(bgd(MODEL, SETTING, noise=zero_noise, **settings, **shared), *batches)
    lr = 3.0 * 0.1**2 * (examples_per_step or SETTING.batch_size)
    assert_close(state.mean, update(online(MODEL, SETTING, lr=lr, **shared), *batches)[1].params)
    assert_same_bits(state.std, start.std)


def test_glances_are_steps_on_the_same_examples() -> None:
    settings: dict[str, Any] = {"mc_samples": 1, "noise": zero_noise}
    _, twice = update(bgd(MODEL, SETTING, glances=2, **settings), make_batch(0))
    _, again = update(bgd(MODEL, SETTING, **settings), make_batch(0), make_batch(0))
    assert_close(twice.mean, again.mean, 1e-6)


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_meta_bgd_without_noise_takes_c_mamls_direction(
    order: Any, clip_norm: float | None
) -> None:
    replayed = make_batch(8, task=1, size=4)
    shared: dict[str, Any] = {
        "inner_lr": 0.2,
        "inner_steps": 3,
        "glances": 1,
        "order": order,
        "inner_clip": 0.02,
        "clip_norm": clip_norm,
        "draw": lambda key, memory, batch: (batch, replayed),
    }
    settings: dict[str, Any] = {"mean_eta": 30.0, "std_init": 0.05, "mc_samples": 2}
    start, state = update(
        meta_bgd(MODEL, SETTING, noise=zero_noise, **settings, **shared), make_batch(0)
    )
    before, after = update(c_maml(MODEL, SETTING, outer_lr=0.5, **shared), make_batch(0))
    factor = 30.0 * 0.05**2 * SETTING.batch_size / 0.5
    moves = optax.tree.sub(state.mean, start.mean), optax.tree.sub(after.params, before.params)
    assert_close(moves[0], optax.tree.scale(factor, moves[1]), 1e-6)
    assert optax.tree.norm(moves[0]) > 0.05
    assert_same_bits(state.std, start.std)


def test_learnt_rates_without_noise_take_la_mamls_direction() -> None:
    replayed = make_batch(8, task=1, size=4)
    shared: dict[str, Any] = {
        "inner_steps": 3,
        "glances": 1,
        "order": "second",
        "inner_clip": None,
        "draw": lambda key, memory, batch: (batch, replayed),
    }
    settings: dict[str, Any] = {"mean_eta": 30.0, "std_init": 0.05, "mc_samples": 2}
    learner = meta_bgd(
        MODEL,
        SETTING,
        inner_lr=0.2,
        learn_inner_lr=True,
        clip_norm=None,
        noise=zero_noise,
        **settings,
        **shared,
    )
    start, state = update(learner, make_batch(0))
    la_maml_start, la_maml_state = update(
        la_maml(MODEL, SETTING, lr_init=0.2, lr_lr=0.5, clip_norm=None, **shared), make_batch(0)
    )
    factor = 30.0 * 0.05**2 * SETTING.batch_size / 0.5
    move = optax.tree.sub(state.lrs, start.lrs)
    reference = optax.tree.sub(la_maml_state.lrs, la_maml_start.lrs)
    assert_close(move, optax.tree.scale(factor, reference), 1e-6)
    assert optax.tree.norm(move) > 1e-3
    assert_same_bits(state.lrs_std, state.std)


def test_learnt_rates_are_sampled_with_the_weights_but_not_clipped() -> None:
    """The released code clips the gradients of what its network calls its parameters, which are not the rates."""
    settings: dict[str, Any] = {"learn_inner_lr": True, "glances": 1, "mc_samples": 1}
    start, state = update(meta_bgd(MODEL, SETTING, **settings), make_batch(0))
    assert differs(state.lrs_std, start.lrs_std)
    assert differs(state.lrs_std, state.std)

    settings |= {"mean_eta": 1.0, "std_init": 1.0}
    (_, free), (start, clipped) = (
        update(meta_bgd(MODEL, SETTING, clip_norm=clip_norm, **settings), make_batch(0))
        for clip_norm in (None, 1e-3)
    )
    move = optax.tree.norm(optax.tree.sub(clipped.mean, start.mean))
    assert move == pytest.approx(1e-3 * SETTING.batch_size, rel=1e-2)
    assert_close(clipped.lrs, free.lrs)
    assert optax.tree.norm(optax.tree.sub(clipped.lrs, start.lrs)) > 1
    assert_no_buffer_twice(start)


@pytest.mark.parametrize("redraw", [False, True])
def test_whether_every_sample_has_a_draw_of_its_own(redraw: bool) -> None:
    def mean_after(mc_samples: int) -> Any:
        learner = meta_bgd(
            MODEL,
            SETTING,
            mc_samples=mc_samples,
            inner_lr=1.0,
            redraw_per_sample=redraw,
            noise=zero_noise,
        )
        return update(learner, make_batch(0))[1].mean

    one, two = mean_after(1), mean_after(2)
    if redraw:
        assert max(jax.tree.leaves(jax.tree.map(lambda a, b: abs(a - b).max(), one, two))) > 1e-4
    else:
        assert_close(one, two, 1e-6)


def test_meta_bgd_remembers_a_batch_once() -> None:
    _, state = update(meta_bgd(MODEL, SETTING, glances=3), make_batch(0), make_batch(1))
    assert state.memory.seen == 2 * SETTING.batch_size
    assert_same_bits(state.memory.x[: SETTING.batch_size], make_batch(0).x)


def constant_gradient_model(num_weights: int) -> Model:
    """Return a network that is so sure of class 1 that every weight's gradient for class 0 is 1."""

    def apply(params: jax.Array, x: jax.Array) -> jax.Array:
        logit = jnp.broadcast_to(params.sum() + 1e4, x.shape)
        return jnp.stack([jnp.zeros_like(x), logit], axis=-1)

    return Model(lambda key, x: jnp.zeros(num_weights), apply)


@pytest.mark.parametrize("mc_samples", [1, 4])
def test_samples_are_independent_standard_normal(mc_samples: int) -> None:
    learner = bgd(constant_gradient_model(10_000), ONE_TASK, std_init=0.1, mc_samples=mc_samples)
    _, state = update(learner, batch_of([1, 1], [0, 0], [0, 0]))
    # The gradient of two examples' sum is 2, so std_new = std (sqrt(1 + a^2) - a) where a = std * E[2 eps] / 2.
    eps = np.sinh(-np.log(np.asarray(state.std) / 0.1)) / 0.1
    assert abs(eps.mean()) < 0.05
    assert abs(eps.std() - mc_samples**-0.5) < 0.02


def test_deviations_stay_positive() -> None:
    batch = make_batch(0)
    batch = batch._replace(x=1e5 * batch.x)
    learner = bgd(MODEL, SETTING, mean_eta=0.0, std_init=1.0, mc_samples=1)
    for seed in range(3):
        state = learner.init(KEY, batch)
        state, _ = jax.jit(learner.update)(jax.random.key(seed), state, batch)
        lowest = min(leaf.min() for leaf in jax.tree.leaves(state.std))
        assert 0 < lowest < 1e-4
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.std))
