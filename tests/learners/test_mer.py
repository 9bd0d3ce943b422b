"""MER against the authors' numbers and Online, and what its steps are taken on."""

import json
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import BATCH_SIZE, assert_close, assert_same_bits, differs, make_batch, small_setting

from lamaml_jax import Batch, Learner, Model, Setting, mer, networks, online, replay

pytestmark = pytest.mark.usefixtures("quick_compile")

VECTORS = Path(__file__).parents[1] / "reference" / "mer_single_head.npz"
SETTING = small_setting()
ONE_BY_ONE = SETTING._replace(batch_size=1)
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
KEY = jax.random.key(0)


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-9), (False, 1e-5)], ids=["x64", "f32"])
def test_it_reproduces_the_authors_numbers(double: bool, tolerance: float) -> None:
    """The authors replay two given batches, one after the other.

    Here each draw picks one of the two by its key, so that of several keys for an update about a quarter pick them in
    that order.
    """
    with jax.enable_x64(double), np.load(VECTORS) as vectors:
        config = json.loads(str(vectors["config"]))

        def tree(name: str) -> dict[str, jax.Array]:
            names = [key for key in vectors if key.startswith(f"{name}/")]
            return {k.partition("/")[2]: jnp.asarray(vectors[k], float) for k in names}

        def batch(x: Any, y: Any) -> Batch:
            y = jnp.asarray(y)
            return Batch(jnp.asarray(x, float), y, jnp.zeros_like(y), y >= 0)

        both = batch(vectors["replay_x"], vectors["replay_y"])

        def pick(key: chex.PRNGKey, memory: replay.Memory, example: Batch) -> tuple[Batch, Batch]:
            i = jax.random.randint(key, (), 0, 2)
            return example, Batch(*(a[i] for a in both[:4]))

        example = batch(vectors["x"], vectors["y"])
        learner = mer(
            Model(lambda key, x: tree("params_in"), mlp),
            Setting(1, 6, np.ones((1, 6), bool), batch_size=1, batches_per_epoch=1),
            draw=pick,
            **{k: v for k, v in config.items() if k not in ("learner", "note")},
        )
        update = jax.jit(jax.vmap(learner.update, in_axes=(0, None, None)))
        keys = jax.random.split(KEY, 16)
        outcomes = update(keys, learner.init(KEY, example), example)[0].params
        expected = tree("params_out")
        gaps = jax.tree.map(
            lambda a, b: jnp.max(jnp.abs(a - b), axis=range(1, a.ndim)), outcomes, expected
        )
        gap = jnp.max(jnp.stack(jax.tree.leaves(gaps)), axis=0)
        assert (
            len(np.unique(gap > tolerance)) == 2
        )  # some keys pick in the authors' order, some do not
        assert_close(jax.tree.map(lambda a: a[gap.argmin()], outcomes), expected, tolerance)


def mlp(params: Any, x: jax.Array) -> jax.Array:
    for i in range(3):
        x = x @ params[f"kernel_{i}"] + params[f"bias_{i}"]
        x = jax.nn.relu(x) if i < 2 else x
    return x


def replaying(replayed: Batch, **keywords: Any) -> Learner:
    """Return MER that takes one example at a time and always replays the same ones."""
    keywords = {"lr": 0.2, "within_batch_lr": 0.4, "batches_per_example": 2} | keywords
    return mer(MODEL, ONE_BY_ONE, draw=lambda key, memory, b: (b, replayed), **keywords)


def update(learner: Learner, batch: Batch, state: Any = None) -> tuple[Any, Any]:
    state = learner.init(KEY, batch) if state is None else state
    return jax.jit(learner.update)(KEY, state, batch)


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_without_replay_and_interpolation_it_is_online(clip_norm: float | None) -> None:
    shared: dict[str, Any] = {"lr": 0.3, "clip_norm": clip_norm}
    still = {"within_batch_lr": 1.0, "across_batch_lr": 1.0, "batches_per_example": 1}
    learner = mer(MODEL, SETTING, replay_batch=0, memory=15, **still, **shared)
    plain = online(MODEL, SETTING, examples_per_step=1, **shared)
    state, expected = learner.init(KEY, make_batch(0)), plain.init(KEY, make_batch(0))
    for i in range(3):
        batch = make_batch(i, task=i % 2)
        state, info = update(learner, batch, state)
        expected, expected_info = update(plain, batch, expected)
        assert_close(info["loss"], expected_info["loss"])
    assert_close(state.params, expected.params, 1e-6)


@pytest.mark.parametrize("rates", [(0.0, 1.0), (1.0, 0.0)], ids=str)
def test_a_rate_of_zero_stays_where_it_was(rates: tuple[float, float]) -> None:
    within, across = rates
    learner = mer(MODEL, SETTING, within_batch_lr=within, across_batch_lr=across, memory=15)
    start = learner.init(KEY, make_batch(0))
    state, _ = update(learner, make_batch(0), start)
    assert_same_bits(state.params, start.params)
    assert differs(state.memory, start.memory)


def test_there_is_no_step_for_what_the_memory_does_not_hold() -> None:
    example, two = make_batch(0, size=1), make_batch(1, task=1, size=2)
    garbage = make_batch(2, task=2, size=3, valid=jnp.zeros(3, bool))
    (short, info), (filled, filled_info) = (
        update(replaying(replayed), example) for replayed in (two, replay.join(two, garbage))
    )
    assert_close(filled.params, short.params)
    assert_close(filled_info["loss"], info["loss"])
    alone, _ = update(replaying(garbage), example)
    assert differs(alone.params, short.params)


def test_padding_takes_no_step_and_is_not_kept() -> None:
    learner = mer(MODEL, SETTING, memory=15)
    state, _ = update(learner, make_batch(0))
    after, _ = update(learner, make_batch(1, valid=jnp.zeros(BATCH_SIZE, bool)), state)
    assert_same_bits(after, state)


def test_an_example_is_kept_after_its_own_steps_in_every_epoch() -> None:
    learner = mer(MODEL, ONE_BY_ONE, memory=15, replay_batch=4)
    without = mer(MODEL, ONE_BY_ONE, memory=15, replay_batch=0)
    example = make_batch(0, size=1)
    (state, _), (alone, _) = update(learner, example), update(without, example)
    assert_close(state.params, alone.params)
    assert_same_bits(state.memory.x[:1], example.x)
    again = example._replace(first_epoch=jnp.asarray(False))
    (state, _), (alone, _) = update(learner, again, state), update(without, again, state)
    assert int(state.memory.seen) == 2
    assert differs(state.params, alone.params)


@pytest.mark.parametrize(
    ("keyword", "value", "allowed"),
    [("batches_per_example", 0, "an integer >= 1"), ("replay_batch", -1, "an integer >= 0")],
)
def test_a_bad_setting_gets_one_sentence(keyword: str, value: int, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"{keyword} is {value}; it must be {allowed}\."):
        mer(MODEL, SETTING, **{keyword: value})
