"""The metrics of continual learning, worked out by hand on three tasks."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from lamaml_jax import metrics

ACCURACY = np.array(
    [
        [0.10, 0.12, 0.08],  # before training
        [0.90, 0.30, 0.20],
        [0.70, 0.80, 0.40],
        [0.60, 0.70, 0.95],
    ]
)


def test_retained_accuracy_is_the_mean_of_the_last_row() -> None:
    assert metrics.retained_accuracy(ACCURACY) == pytest.approx((0.6 + 0.7 + 0.95) / 3)


def test_learning_accuracy_is_the_mean_just_after_each_task() -> None:
    assert metrics.learning_accuracy(ACCURACY) == pytest.approx((0.9 + 0.8 + 0.95) / 3)


def test_backward_transfer_is_the_mean_change_over_all_tasks() -> None:
    assert metrics.backward_transfer(ACCURACY) == pytest.approx((-0.3 - 0.1 + 0) / 3)


def test_forward_transfer_is_the_mean_over_all_tasks_but_the_first() -> None:
    by_hand = ((0.30 - 0.12) + (0.40 - 0.08)) / 2
    assert metrics.forward_transfer(ACCURACY) == pytest.approx(by_hand)
    assert np.isnan(metrics.forward_transfer(ACCURACY[:2, :1]))


def test_retained_is_learning_accuracy_plus_backward_transfer() -> None:
    accuracy = np.random.default_rng(0).random((5, 8, 7))
    np.testing.assert_allclose(
        metrics.retained_accuracy(accuracy),
        metrics.learning_accuracy(accuracy) + metrics.backward_transfer(accuracy),
    )


@pytest.mark.parametrize(
    "metric",
    [
        metrics.retained_accuracy,
        metrics.learning_accuracy,
        metrics.backward_transfer,
        metrics.forward_transfer,
    ],
)
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_leading_axes_are_kept(metric: Callable[[np.ndarray], np.ndarray], num_tasks: int) -> None:
    accuracy = np.random.default_rng(0).random((2, 5, num_tasks + 1, num_tasks))
    values = metric(accuracy)
    assert values.shape == (2, 5)
    np.testing.assert_allclose(values[1, 3], metric(accuracy[1, 3]))


@pytest.mark.parametrize(
    "metric",
    [metrics.learning_accuracy, metrics.backward_transfer, metrics.forward_transfer],
)
def test_a_task_learnt_twice_is_refused(metric: Callable[[np.ndarray], np.ndarray]) -> None:
    with pytest.raises(
        ValueError, match=r"^accuracy is of shape \(5, 3\); it must be \[\.\.\., T\+1, T\]"
    ):
        metric(np.vstack([ACCURACY, ACCURACY[-1:]]))


def test_rates_are_summed_up_and_named_per_layer() -> None:
    lrs = {
        "Dense_1": {"kernel": jnp.array([[0.1, -0.2], [0.0, 0.5]])},
        "Dense_0": {"kernel": jnp.array([0.3, 0.1]), "bias": jnp.array([-1.0])},
    }
    assert metrics.layer_names(lrs) == ["Dense_0/bias", "Dense_0/kernel", "Dense_1/kernel"]
    means, at_or_below_zero = metrics.rate_summary(lrs)
    np.testing.assert_allclose(means, [-1, 0.2, 0.1], rtol=1e-6)
    np.testing.assert_allclose(at_or_below_zero, [1, 0, 0.5])
