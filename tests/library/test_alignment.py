"""The alignment of gradients, against values by hand and against gradients taken one by one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import MODEL, SETTING, assert_close, assert_same_bits, make_batch
from jax.flatten_util import ravel_pytree

from lamaml_jax import Batch, losses
from lamaml_jax.analysis import OldAndNew, gradient_alignment, old_and_new

pytestmark = pytest.mark.usefixtures("quick_compile")

LOSS = losses.task_loss(MODEL.apply, SETTING)
TASKS = range(3)


def params() -> Any:
    return MODEL.init(jax.random.key(0), make_batch(0).x)


def batches(**fields: Any) -> list[Batch]:
    return [make_batch(1, task, **fields) for task in TASKS]


def stack(trees: list[Batch]) -> Batch:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def linear(params: dict[str, jax.Array], slope: dict[str, jax.Array]) -> jax.Array:
    """Return a loss whose gradient is `slope`."""
    return jnp.vdot(params["a"], slope["a"]) + jnp.vdot(params["b"], slope["b"])


def test_cosines_and_products_by_hand() -> None:
    start = {"a": jnp.ones(2), "b": jnp.ones(1)}
    slopes = {
        "a": jnp.array([[3.0, 0.0], [0.0, 5.0], [-6.0, 0.0]]),
        "b": jnp.array([[4.0], [12.0], [-8.0]]),
    }
    cosine, dot = gradient_alignment(linear, start, slopes)
    np.testing.assert_allclose(dot, [[25, 48, -50], [48, 169, -96], [-50, -96, 100]], rtol=1e-6)
    half = 48 / 65
    np.testing.assert_allclose(cosine, [[1, half, -1], [half, 1, -half], [-1, -half, 1]], rtol=1e-6)
    assert np.all(np.abs(cosine) <= 1)


def test_a_networks_gradients_are_compared_one_by_one() -> None:
    start = params()
    flat = [np.float64(ravel_pytree(jax.grad(LOSS)(start, batch))[0]) for batch in batches()]
    found = jax.jit(gradient_alignment, static_argnums=0)(LOSS, start, stack(batches()))
    for i in TASKS:
        for j in TASKS:
            product = flat[i] @ flat[j]
            assert float(found.dot[i, j]) == pytest.approx(product, rel=1e-4)
            norms = np.linalg.norm(flat[i]) * np.linalg.norm(flat[j])
            assert float(found.cosine[i, j]) == pytest.approx(product / norms, rel=1e-4)


def test_a_list_of_batches_is_a_stack_of_them_and_may_hold_other_sizes() -> None:
    start = params()
    assert_close(
        gradient_alignment(LOSS, start, batches()),
        gradient_alignment(LOSS, start, stack(batches())),
    )
    # Twice the same examples have the same mean loss, and so the same gradient.
    twice = [
        jax.tree.map(lambda a: jnp.concatenate([a, a]) if a.ndim else a, batches()[0]),
        *batches()[1:],
    ]
    assert_close(gradient_alignment(LOSS, start, twice), gradient_alignment(LOSS, start, batches()))


def test_scalars_of_a_stack_go_with_every_batch() -> None:
    start, stacked = params(), stack(batches())
    shared = stacked._replace(first_epoch=True, progress=None)
    assert_same_bits(
        gradient_alignment(LOSS, start, shared), gradient_alignment(LOSS, start, stacked)
    )


def test_a_task_that_is_absent_is_undefined_whatever_stands_in_its_batch() -> None:
    start = params()
    present = jnp.array([True, False, True])
    stacked = stack(batches())
    garbage = stacked._replace(x=stacked.x.at[1].set(jnp.nan))
    both = np.outer(present, present)
    align = jax.jit(gradient_alignment, static_argnums=0)
    whole = align(LOSS, start, stacked)
    for given in (stacked, garbage):
        for some, every in zip(align(LOSS, start, given, present=present), whole, strict=True):
            np.testing.assert_allclose(some, np.where(both, every, np.nan), rtol=1e-5)


def test_a_gradient_of_zero_has_products_but_no_angle() -> None:
    stacked = stack(batches())
    empty = stacked._replace(valid=stacked.valid.at[2].set(False))
    cosine, dot = gradient_alignment(LOSS, params(), empty)
    assert np.all(np.isnan(cosine[2])) and np.all(np.isnan(cosine[:, 2]))
    assert np.all(np.isfinite(cosine[:2, :2])) and np.all(np.asarray(dot[2]) == 0)
    absent = gradient_alignment(LOSS, params(), empty, present=empty.valid.any(axis=1))
    assert np.all(np.isnan(absent.dot[2]))


def test_means_over_old_tasks_and_the_new_by_hand() -> None:
    similarity = jnp.arange(16.0).reshape(4, 4)
    similarity = (
        similarity + similarity.T
    ) / 2  # 0-1: 2.5, 0-2: 5, 1-2: 7.5, 0-3: 7.5, 1-3: 10, 2-3: 12.5
    found = jax.jit(jax.vmap(lambda new: old_and_new(similarity, new)))(jnp.arange(4))
    np.testing.assert_allclose(found.among_old, [np.nan, np.nan, 2.5, 5])
    np.testing.assert_allclose(found.against_new, [np.nan, 2.5, 6.25, 10])
    seeds = jnp.stack([similarity, 2 * similarity])
    assert_close(old_and_new(seeds, 3), OldAndNew(jnp.array([5.0, 10.0]), jnp.array([10.0, 20.0])))


def test_the_old_tasks_may_be_named_and_absent_ones_do_not_count() -> None:
    similarity = jnp.arange(16.0).reshape(4, 4)
    similarity = (similarity + similarity.T) / 2
    old = jnp.array([False, True, True, True])  # the new task itself is never among the old
    assert_close(old_and_new(similarity, 1, old=old), OldAndNew(12.5, (7.5 + 10) / 2))
    absent = similarity.at[2].set(jnp.nan).at[:, 2].set(jnp.nan)
    assert_close(old_and_new(absent, 3), OldAndNew(2.5, (7.5 + 10) / 2))


@pytest.mark.parametrize(
    ("given", "present", "sentence"),
    [
        ([], None, "batches is an empty list"),
        (
            {"a": jnp.ones((2, 2)), "b": jnp.ones((3, 1))},
            None,
            r"batches holds arrays for \[2, 3\] tasks",
        ),
        (
            {"a": jnp.ones((0, 2)), "b": jnp.ones((0, 1))},
            None,
            r"batches holds arrays for \[0\] tasks",
        ),
        ({"a": 1.0, "b": 2.0}, None, r"batches holds arrays for \[\] tasks"),
        (
            {"a": jnp.ones((2, 2)), "b": jnp.ones((2, 1))},
            jnp.ones(3, bool),
            r"present is of shape \(3,\)",
        ),
    ],
)
def test_batches_of_no_common_length_are_refused(given: Any, present: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        gradient_alignment(linear, {"a": jnp.ones(2), "b": jnp.ones(1)}, given, present=present)
