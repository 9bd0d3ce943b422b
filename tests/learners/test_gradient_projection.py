"""The look-ahead learners' projected outer step: the projector's arithmetic, and what of a step it shortens."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    MODEL,
    SETTING,
    assert_close,
    assert_same_bits,
    make_batch,
    small_keywords,
    small_setting,
)

from lamaml_jax import LEARNERS, Learner
from lamaml_jax.learners.parts import bases

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
TAU = 0.2
LATER = make_batch(3, task=1)
# Steps of one glance, with rates that stay as they are, and bases of all directions.
FIXED: dict[str, Any] = {
    **{"glances": 1, "lr_init": 0.2, "lr_lr": 0.0, "inner_lr": 0.2},
    "projection_directions": 30,
}
of_all = pytest.mark.parametrize("name", ["la_maml", "sync_la_maml", "c_maml"])


def build(name: str, shared: bool = True, **keywords: Any) -> Learner:
    known = inspect.signature(LEARNERS[name]).parameters
    fixed = {keyword: value for keyword, value in FIXED.items() if keyword in known}
    setting = small_setting(per_task=not shared)
    return LEARNERS[name](MODEL, setting, **small_keywords(name) | fixed | keywords)


def ended(learner: Learner) -> Any:
    """Return the state after one batch and the end of its task."""
    state, _ = jax.jit(learner.update)(KEY, learner.init(KEY, make_batch(0)), make_batch(0))
    return jax.jit(learner.end_task)(KEY, state, None)


def ridge(rows: np.ndarray, softness: float) -> np.ndarray:
    """Return X'X (X'X + softness e_1 I)^-1 in double precision, without a decomposition of X."""
    products = rows.T.astype(float) @ rows.astype(float)
    strongest = np.linalg.eigvalsh(products)[-1]
    return products @ np.linalg.inv(products + softness * strongest * np.eye(len(products)))


@pytest.mark.parametrize("shape", [(4, 9), (30, 9)], ids=["wide", "tall"])
def test_directions_are_those_of_a_ridge_regression(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    find = jax.jit(bases.ridge_directions, static_argnums=2)
    found = find(rows, TAU, min(shape))
    assert_close(found @ found.T, ridge(rows, TAU))
    assert_same_bits(find(rows, TAU, 3), found[:, :3])
    assert not find(np.zeros_like(rows), TAU, 3).any()


@pytest.mark.parametrize("shape", [(4, 9), (30, 9)], ids=["wide", "tall"])
def test_directions_of_few_bits_are_those_of_more(shape: tuple[int, int]) -> None:
    rows = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.bfloat16)
    found = bases.ridge_directions(rows, TAU, min(shape))
    assert found.dtype == jnp.bfloat16
    assert_close(found @ found.T, ridge(np.asarray(rows, float), TAU), 0.02)


@of_all
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "heads"])
def test_a_step_is_shortened_by_the_remembered_inputs_alone(name: str, shared: bool) -> None:
    plain, projected = build(name, shared), build(name, shared, gradient_projection=TAU)
    before = ended(projected)
    changes = []
    for learner in (plain, projected):
        state = before if learner is projected else before._replace(bases=())
        after, _ = jax.jit(learner.update)(KEY, state, LATER)
        changes.append(jax.tree.map(jnp.subtract, after.params, before.params))
    whole, short = changes
    assert MODEL.layer_inputs is not None
    remembered = before.memory.x[: int(before.memory.seen)]
    all_rows = MODEL.layer_inputs(before.params, remembered)
    assert len(before.bases) == (len(all_rows) if shared else len(all_rows) - 1)
    for layer, rows in enumerate(all_rows):
        kernels = [change[f"Dense_{layer}"]["kernel"] for change in changes]
        inside = ridge(np.asarray(rows), TAU) @ kernels[0] if layer < len(before.bases) else 0
        assert_close(kernels[1], kernels[0] - inside)
        assert np.abs(kernels[0]).max() > 1e-3
        assert_close(short[f"Dense_{layer}"]["bias"], whole[f"Dense_{layer}"]["bias"])


def test_the_outer_scale_multiplies_la_mamls_step() -> None:
    before = ended(build("la_maml"))
    changes = []
    for keywords in ({}, {"outer_scale": 3.0}):
        after, _ = jax.jit(build("la_maml", **keywords).update)(KEY, before, LATER)
        changes.append(jax.tree.map(jnp.subtract, after.params, before.params))
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(changes[0])) > 1e-3
    assert_close(changes[1], jax.tree.map(lambda change: 3 * change, changes[0]))


@of_all
def test_only_so_many_directions_are_kept_and_none_before_a_tasks_end(name: str) -> None:
    learner = build(name, gradient_projection=TAU, projection_directions=3)
    first = learner.init(KEY, make_batch(0))
    assert not any(v.any() for v in first.bases)
    assert all(v.shape[1] == 3 and v.any() for v in ended(learner).bases)
    assert build(name).init(KEY, make_batch(0)).bases == ()


@of_all
def test_a_model_that_hides_its_layers_inputs_is_refused(name: str) -> None:
    hidden = MODEL._replace(layer_inputs=None)
    with pytest.raises(ValueError, match=r"^model has no layer inputs; .* gradient_projection\.$"):
        LEARNERS[name](hidden, SETTING, gradient_projection=TAU)
