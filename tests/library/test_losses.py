"""Losses and accuracy by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits

from lamaml_jax import Batch, Setting, losses

pytestmark = pytest.mark.usefixtures("quick_compile")

LOGITS = np.array([[1.0, 2.0, -1.0, 0.5], [0.3, 0.1, 2.0, -2.0], [3.0, 0.0, 1.0, 1.0]])
LABELS = np.array([0, 3, 1])
TASKS = np.array([0, 1, 0])
PER_TASK = np.array([[True, True, False, False], [False, False, True, True]])
SHARED = np.ones((2, 4), bool)


def batch(valid: list[bool]) -> Batch:
    """Return a batch whose inputs are the logits."""
    x = jnp.asarray(LOGITS, jnp.float32)
    return Batch(x, jnp.asarray(LABELS), jnp.asarray(TASKS), jnp.asarray(valid))


def setting(mask: np.ndarray) -> Setting:
    return Setting(*mask.shape, mask, batch_size=3, batches_per_epoch=1)


def scale(params: jax.Array, x: jax.Array) -> jax.Array:
    return params * x


@pytest.mark.parametrize("mask", [PER_TASK, SHARED], ids=["per_task", "shared"])
def test_cross_entropy_is_taken_over_the_outputs_of_each_examples_own_task(
    mask: np.ndarray,
) -> None:
    by_hand = []
    for logits, label, task in zip(LOGITS, LABELS, TASKS, strict=True):
        by_hand.append(np.log(np.exp(logits[mask[task]]).sum()) - logits[label])
    loss = losses.task_loss(scale, setting(mask))(jnp.float32(1), batch([True] * 3))
    assert_close(loss, np.mean(by_hand), 1e-6)


@pytest.mark.parametrize("mask", [PER_TASK, SHARED], ids=["per_task", "shared"])
def test_invalid_rows_are_ignored(mask: np.ndarray) -> None:
    loss_fn = jax.value_and_grad(losses.task_loss(scale, setting(mask)))
    padded = batch([True, False, True])
    rows = np.array([0, 2])
    alone = Batch(padded.x[rows], padded.y[rows], padded.task[rows], padded.valid[rows])
    garbage = padded._replace(x=padded.x.at[1].set(1e6), y=padded.y.at[1].set(0))
    assert_close(loss_fn(jnp.float32(1), padded), loss_fn(jnp.float32(1), alone), 1e-6)
    assert_same_bits(loss_fn(jnp.float32(1), garbage), loss_fn(jnp.float32(1), padded))


@pytest.mark.parametrize("mask", [PER_TASK, SHARED], ids=["per_task", "shared"])
def test_a_batch_without_valid_rows_has_no_loss_and_no_gradient(mask: np.ndarray) -> None:
    loss_fn = losses.task_loss(scale, setting(mask))
    loss, grad = jax.value_and_grad(loss_fn)(jnp.float32(1), batch([False] * 3))
    assert float(loss) == 0
    assert float(grad) == 0


@pytest.mark.parametrize("mask", [PER_TASK, SHARED], ids=["per_task", "shared"])
def test_only_a_tasks_own_outputs_have_a_gradient(mask: np.ndarray) -> None:
    grad = jax.grad(losses.task_loss(lambda params, x: params + x, setting(mask)))(
        jnp.zeros((3, 4)), batch([True] * 3)
    )
    np.testing.assert_array_equal(np.asarray(grad) != 0, mask[TASKS])


def test_scores_of_other_heads_are_minus_infinity() -> None:
    logits = jnp.asarray(LOGITS)
    scores = losses.task_scores(logits, PER_TASK, jnp.int32(1))
    assert_same_bits(scores[:, 2:], logits[:, 2:])
    assert np.all(np.asarray(scores[:, :2]) == -np.inf)
    assert_same_bits(losses.task_scores(logits, SHARED, jnp.int32(1)), logits)


def test_a_label_of_minus_one_is_never_correct() -> None:
    scores = jnp.asarray(LOGITS)  # highest at 1, 2 and 0
    assert int(losses.num_correct(scores, jnp.array([1, 2, 0]))) == 3
    assert int(losses.num_correct(scores, jnp.array([1, 3, 0]))) == 2
    assert int(losses.num_correct(scores, jnp.array([-1, 2, -1]))) == 1


def test_the_mean_over_valid_rows() -> None:
    values = jnp.array([1.0, 10.0, 4.0])
    assert float(losses.mean_over_valid(values, jnp.array([True, False, True]))) == 2.5
    assert float(losses.mean_over_valid(values, jnp.zeros(3, bool))) == 0
    assert float(losses.mean_over_valid(values, jnp.ones(3, bool))) == 5
