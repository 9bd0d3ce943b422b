"""Replay with the logits of remembered examples: what is kept, and what the network is held to."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import MODEL, SETTING, assert_close, assert_same_bits, build, make_batch, small_setting

from lamaml_jax import Batch, Setting, replay
from lamaml_jax.learners.parts.distillation import distilled_loss
from lamaml_jax.losses import task_loss

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
LEARNERS = ["er", "la_maml", "sync_la_maml", "c_maml"]

every_learner = pytest.mark.parametrize("name", LEARNERS)


def logits_of(batch: Batch) -> jax.Array:
    return MODEL.apply(MODEL.init(jax.random.key(9), batch.x), batch.x)


@pytest.mark.parametrize("setting", [SETTING, small_setting(per_task=False)], ids=["own", "shared"])
def test_the_distance_is_taken_over_the_outputs_of_valid_replayed_rows(setting: Setting) -> None:
    params = MODEL.init(KEY, make_batch(0).x)
    replayed = make_batch(1, task=2, size=4)
    replayed = replayed._replace(
        logits=logits_of(replayed), valid=jnp.array([True, True, False, True])
    )
    batch = replay.join(replayed, make_batch(0))
    outputs, kept = map(np.asarray, (MODEL.apply(params, replayed.x), replayed.logits))
    own = setting.class_mask[2]
    distance = np.mean([((outputs[i] - kept[i])[own] ** 2).mean() for i in (0, 1, 3)])
    plain = task_loss(MODEL.apply, setting)(params, batch)
    loss = distilled_loss(MODEL.apply, setting, 0.3)
    assert_close(loss(params, batch), plain + 0.3 * distance)
    assert_same_bits(
        loss(params, make_batch(0)), task_loss(MODEL.apply, setting)(params, make_batch(0))
    )


@every_learner
def test_a_memory_keeps_what_the_network_gave_as_an_example_entered(name: str) -> None:
    learner = build(name, memory=15, distill=0.3)
    update = jax.jit(learner.update)
    state = learner.init(KEY, make_batch(0))
    assert_same_bits(state.memory.logits, jnp.zeros((15, SETTING.num_classes)))
    given = {}
    for step in range(6):
        batch = make_batch(step)
        new, _ = update(jax.random.fold_in(KEY, step), state, batch)
        # ER's examples enter after its step, the look-ahead learners' before it.
        params = new.params if name == "er" else state.params
        for x, logits in zip(batch.x, MODEL.apply(params, batch.x), strict=True):
            given[np.asarray(x).tobytes()] = np.asarray(logits)
        state = new
    for x, logits in zip(state.memory.x, state.memory.logits, strict=True):
        np.testing.assert_allclose(logits, given[np.asarray(x).tobytes()], rtol=1e-4, atol=1e-5)


@every_learner
def test_a_draw_that_drops_the_logits_is_refused(name: str) -> None:
    def draw(key: jax.Array, memory: replay.Memory, batch: Batch) -> tuple[Batch, Batch]:
        return batch, Batch(batch.x, batch.y, batch.task, batch.valid)

    learner = build(name, draw=draw, distill=0.3)
    state = jax.eval_shape(learner.init, KEY, make_batch(0))
    with pytest.raises(ValueError, match="^draw returns replayed examples without logits"):
        jax.eval_shape(learner.update, KEY, state, make_batch(0))


def test_la_der_is_la_maml_with_distillation() -> None:
    states = []
    for name in ("la_der", "la_maml"):
        learner = build(name, distill=0.3, lr_init=0.1)
        state = learner.init(KEY, make_batch(0))
        states.append(jax.jit(learner.update)(KEY, state, make_batch(0)))
    jax.tree.map(np.testing.assert_array_equal, *states)


@every_learner
def test_without_a_weight_no_logits_are_kept(name: str) -> None:
    learner = build(name)
    state = jax.eval_shape(learner.init, KEY, make_batch(0))
    assert state.memory.logits is None


@every_learner
def test_weights_are_pulled_to_the_kept_logits_in_proportion_to_the_weight(name: str) -> None:
    """A network that already gives the kept logits feels no pull; one that does not, the more the larger the weight."""

    def params_after(distill: float | None, shift: float) -> Any:
        def draw(key: jax.Array, memory: replay.Memory, batch: Batch) -> tuple[Batch, Batch]:
            replayed = make_batch(5, size=4)
            logits = MODEL.apply(start, replayed.x) + shift
            return batch, replayed._replace(logits=logits)

        rates = {"lr": 1e-4} if name == "er" else {"inner_steps": 1, "inner_clip": 1e-12}
        rates |= {"c_maml": {"outer_lr": 1e-4}, "sync_la_maml": {"outer_lr": 1e-4}}.get(name, {})
        rates |= {"lr_lr": 0.0, "lr_init": 1e-4} if name == "la_maml" else {}
        learner = build(name, glances=1, clip_norm=None, draw=draw, distill=distill, **rates)
        state = learner.init(KEY, make_batch(0))
        start = state.params
        return learner.update(KEY, state, make_batch(0))[0].params

    def pull(distill: float, shift: float) -> Any:
        return jax.tree.map(jnp.subtract, params_after(distill, shift), params_after(None, shift))

    biggest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(pull(1.0, 0.5)))
    assert biggest > 1e-6
    for leaf in jax.tree.leaves(pull(1.0, 0.0)):
        np.testing.assert_allclose(leaf, 0, atol=1e-2 * biggest)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, 2 * b, atol=2e-2 * biggest),
        pull(2.0, 0.5),
        pull(1.0, 0.5),
    )
