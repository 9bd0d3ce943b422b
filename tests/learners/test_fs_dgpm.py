"""FS-DGPM: what a step leaves alone, what the soft weights do, and when bases are made of what."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    MODEL,
    NUM_FEATURES,
    SETTING,
    assert_close,
    assert_same_bits,
    make_batch,
    small_setting,
)

from lamaml_jax import Learner, Model, c_maml, fs_dgpm, networks
from lamaml_jax.learners.parts import bases

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
SMALL: dict[str, Any] = {"memory": 5, "replay_batch": 4, "glances": 2}
FEW = 5  # slots: fewer than an example has features
LATER = make_batch(3, task=1, first_epoch=jnp.asarray(False))  # which is not remembered


def ended(learner: Learner) -> Any:
    """Return the state after one batch and the end of its task."""
    state, _ = jax.jit(learner.update)(KEY, learner.init(KEY, make_batch(0)), make_batch(0))
    return jax.jit(learner.end_task)(KEY, state, None)


def updated(learner: Learner, state: Any, times: int = 1) -> Any:
    update = jax.jit(learner.update)
    for _ in range(times):
        state, _ = update(KEY, state, LATER)
    return state


@pytest.mark.parametrize("shared", [False, True], ids=["heads", "shared"])
@pytest.mark.parametrize("gradient_at", ["perturbed", "unperturbed"])
def test_a_step_leaves_what_layers_give_for_remembered_inputs(
    shared: bool, gradient_at: Any
) -> None:
    """With whole bases, each kernel times its old inputs is what it was; biases move, and a task's own head."""
    learner = fs_dgpm(
        MODEL,
        small_setting(per_task=not shared),
        **SMALL,
        soft="off",
        threshold=1.0,
        lr=0.3,
        gradient_at=gradient_at,
    )
    before = ended(learner)
    after = updated(learner, before)
    assert MODEL.layer_inputs is not None
    rows = jax.jit(MODEL.layer_inputs)(before.params, before.memory.x)
    assert len(before.bases) == (2 if shared else 1)
    for layer, old in enumerate(rows):
        kernels = [state.params[f"Dense_{layer}"]["kernel"] for state in (before, after)]
        change = old @ (kernels[1] - kernels[0])
        assert np.abs(kernels[1] - kernels[0]).max() > 1e-2
        assert (np.abs(change).max() < 1e-5) == (layer < len(before.bases))
    assert np.all(before.params["Dense_0"]["bias"] != after.params["Dense_0"]["bias"])


def test_before_a_task_ends_a_look_ahead_is_c_mamls() -> None:
    shared: dict[str, Any] = {**SMALL, "inner_steps": 2, "clip_norm": 0.5, "inner_clip": 0.1}
    learner = fs_dgpm(
        MODEL,
        SETTING,
        **shared,
        perturbation="look_ahead",
        lr=0.1,
        momentum=0.0,
        perturbation_lr=0.3,
        shuffle_glances=False,
    )
    same = c_maml(
        MODEL,
        SETTING,
        **{**shared, "glances": 1},
        inner_lr=0.3,
        outer_lr=0.1,
        shuffle_glances=False,
    )
    batch = make_batch(0)
    states = [learner.init(KEY, batch), same.init(KEY, batch)]
    for _ in range(SMALL["glances"]):
        # C-MAML remembers before its second glance, and so has one per update here, from an empty memory.
        states[1] = states[1]._replace(memory=states[0].memory)
        states[1], info = jax.jit(same.update)(KEY, states[1], batch)
    states[0], last = jax.jit(learner.update)(KEY, states[0], batch)
    assert_close(states[0].params, states[1].params, 1e-6)
    assert_close(last["loss"], info["loss"], 1e-6)


def test_released_weights_stay_at_one_and_learnt_ones_release_directions() -> None:
    released, learnt = (
        fs_dgpm(MODEL, SETTING, **SMALL, soft=soft, weights_lr=0.5, perturbation_lr=1.0)
        for soft in ("released", "learnt")
    )
    (weights,) = updated(released, ended(released), times=4).soft.weights
    assert np.all(np.abs(weights - 1) < 1e-3)
    (weights,) = updated(learnt, ended(learnt), times=4).soft.weights
    assert weights.min() < 0.9
    assert weights.min() >= 0
    assert weights.max() <= 1


def test_weights_that_do_not_learn_are_off() -> None:
    off = fs_dgpm(MODEL, SETTING, **SMALL, soft="off")
    still = fs_dgpm(MODEL, SETTING, **SMALL, soft="learnt", weights_lr=0.0)
    assert_close(
        updated(still, ended(still), times=2).params,
        updated(off, ended(off), times=2).params,
        1e-6,
    )


def test_weights_and_momentum_begin_anew_at_a_tasks_end() -> None:
    learner = fs_dgpm(MODEL, SETTING, **SMALL, soft="learnt", weights_lr=0.5, perturbation_lr=1.0)
    first = ended(learner)
    moved = updated(learner, first)
    moving = ("soft", "opt_state")
    for name in moving:
        arrays = zip(*(jax.tree.leaves(getattr(s, name)) for s in (moved, first)), strict=True)
        assert any(np.any(a != b) for a, b in arrays), name
    again = jax.jit(learner.end_task)(KEY, moved, None)
    for name in moving:
        assert_same_bits(getattr(again, name), getattr(first, name))


def test_a_basis_grows_with_the_tasks_seen_and_not_with_the_ends() -> None:
    """The weights and the memory stay, so that only the threshold can change a basis."""
    learner = fs_dgpm(MODEL, SETTING, **SMALL, lr=0.0, threshold=0.5, threshold_step=0.3)
    end_task = jax.jit(learner.end_task)
    first = ended(learner)
    again = end_task(KEY, first, None)
    second = end_task(KEY, updated(learner, first), None)
    rows = first.memory.x
    for state, share in ((first, 0.5), (again, 0.5), (second, 0.8)):
        energies = np.linalg.svd(np.asarray(rows), compute_uv=False) ** 2
        expected = 1 + int(np.sum(np.cumsum(energies) < share * energies.sum()))
        assert int((state.bases[0] != 0).any(axis=0).sum()) == expected


def test_what_the_memory_does_not_hold_adds_nothing_to_a_basis() -> None:
    """Biases make of a blank example another input to the layers behind the first."""
    learner = fs_dgpm(
        MODEL, small_setting(per_task=False), memory=30, replay_batch=4, threshold=1.0
    )
    state = ended(learner)
    state = state._replace(
        params={**state.params, "Dense_0": {**state.params["Dense_0"], "bias": jnp.ones(8)}}
    )
    found = jax.jit(learner.end_task)(KEY, state, None).bases
    assert MODEL.layer_inputs is not None
    for rows, directions in zip(
        MODEL.layer_inputs(state.params, state.memory.x[:10]), found, strict=True
    ):
        expected = bases.principal_directions(rows, 1 - 1e-11)
        assert_close(directions @ directions.T, expected @ expected.T, 1e-4)


def test_a_tasks_end_before_any_example_leaves_no_basis() -> None:
    learner = fs_dgpm(MODEL, SETTING, **SMALL)
    start = learner.init(KEY, make_batch(0))
    state = jax.jit(learner.end_task)(KEY, start, None)
    assert not state.is_based
    assert not np.any(state.bases[0])


@pytest.mark.parametrize("shape", [(3, 6), (40, 6)], ids=["wide", "tall"])
def test_directions_are_orthonormal_and_the_fewest_that_hold_the_share(shape: Any) -> None:
    rows = np.random.default_rng(0).normal(size=shape) * np.array([9, 1, 3, 5, 1, 1])
    found = np.asarray(bases.principal_directions(jnp.asarray(rows, jnp.float32), 0.9))
    kept = found[:, : int(found.any(axis=0).sum())]
    assert_close(kept.T @ kept, np.eye(kept.shape[1]), 1e-5)
    held = [np.sum((rows @ kept[:, :k]) ** 2) / np.sum(rows**2) for k in range(kept.shape[1] + 1)]
    assert held[-2] < 0.9 <= held[-1]
    assert found.shape == (6, min(shape))


def test_a_network_that_does_not_offer_its_inputs_is_refused_in_one_sentence() -> None:
    model = Model(MODEL.init, MODEL.apply)
    with pytest.raises(ValueError, match=r"^model has no layer inputs; it must have kernels and"):
        fs_dgpm(model, SETTING)


def test_a_network_without_kernels_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^kernels of the model is \(\); it must hold one path"):
        fs_dgpm(MODEL._replace(kernels=()), SETTING)


@pytest.mark.parametrize("per_task", [False, True], ids=["shared", "heads"])
def test_kernels_of_another_number_than_inputs_are_refused(per_task: bool) -> None:
    deep = networks.mlp(SETTING.num_classes, hidden=(8, 8, 8))
    learner = fs_dgpm(deep._replace(kernels=deep.kernels[2:]), small_setting(per_task=per_task))
    with pytest.raises(ValueError, match=r"^layer_inputs of the model returns 4 .* its 2 kernels"):
        jax.eval_shape(learner.init, KEY, make_batch(0))


def test_no_more_examples_make_a_basis_than_are_remembered() -> None:
    with pytest.raises(ValueError, match=r"basis_examples is 6; it must be an integer in \[1, 5\]"):
        fs_dgpm(MODEL, SETTING, **SMALL, basis_examples=FEW + 1)
    learner = fs_dgpm(MODEL, SETTING, **SMALL, basis_examples=3)
    state = jax.eval_shape(learner.init, KEY, make_batch(0))
    assert state.bases[0].shape == (NUM_FEATURES, 3)


def test_parameters_of_few_bits_keep_their_dtype() -> None:
    def narrow(tree: Any) -> Any:
        return jax.tree.map(lambda a: a.astype(jnp.bfloat16), tree)

    first, later = (b._replace(x=narrow(b.x)) for b in (make_batch(0), LATER))
    model = MODEL._replace(init=lambda key, x: narrow(MODEL.init(key, x)))
    learner = fs_dgpm(model, SETTING, **SMALL)
    start = learner.init(KEY, first)
    state = jax.jit(learner.end_task)(KEY, jax.jit(learner.update)(KEY, start, first)[0], None)
    after, _ = jax.jit(learner.update)(KEY, state, later)
    kept = state.params, state.bases, after.params
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype(jnp.bfloat16)}
    assert any(v.any() for v in state.bases)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(kept))


@pytest.mark.parametrize(
    ("kernels", "columns", "message"),
    [
        (("Dense_0/weight",), 12, "kernels of the model has 'Dense_0/weight'; it must hold paths"),
        (("Dense_0/kernel",), 11, "has rows of 11; it must be a divisor of the 96 numbers"),
    ],
)
def test_kernels_that_are_none_are_named(kernels: Any, columns: int, message: str) -> None:
    model = MODEL._replace(
        kernels=(*kernels, "Dense_1/kernel"), layer_inputs=lambda params, x: (x[:, :columns],)
    )
    learner = fs_dgpm(model, SETTING, **SMALL)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(learner.init, KEY, make_batch(0))
