"""The metrics of continual learning, worked out by hand on three tasks."""

import functools
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


def changed(cells: dict[tuple[int, int], float]) -> np.ndarray:
    """Return the matrix with other values in some cells."""
    accuracy = ACCURACY.copy()
    for cell, value in cells.items():
        accuracy[cell] = value
    return accuracy


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


def test_forgetting_is_the_mean_fall_from_the_best_so_far() -> None:
    by_hand = ((0.90 - 0.60) + (0.80 - 0.70)) / 2
    assert metrics.forgetting(ACCURACY) == pytest.approx(by_hand)
    # Task 2 was better before it was learnt, and task 1 is better than ever: it did not fall, it rose.
    early = changed({(1, 1): 0.85, (3, 0): 0.97})
    assert metrics.forgetting(early) == pytest.approx(((0.90 - 0.97) + (0.85 - 0.70)) / 2)
    # What was measured before training does not count.
    assert metrics.forgetting(changed({(0, 0): 0.99})) == pytest.approx(by_hand)


def test_average_incremental_accuracy_is_the_mean_over_tasks_seen_and_time() -> None:
    by_hand = (0.90 + (0.70 + 0.80) / 2 + (0.60 + 0.70 + 0.95) / 3) / 3
    assert metrics.average_incremental_accuracy(ACCURACY) == pytest.approx(by_hand)
    assert metrics.average_incremental_accuracy(ACCURACY[:2, :1]) == pytest.approx(0.9)


def test_minimum_accuracy_is_the_mean_of_the_lowest_after_each_task_was_learnt() -> None:
    assert metrics.minimum_accuracy(ACCURACY) == pytest.approx((0.60 + 0.70) / 2)
    dip = changed({(2, 0): 0.50})
    assert metrics.minimum_accuracy(dip) == pytest.approx((0.50 + 0.70) / 2)
    # Just after it was learnt, and before, a task is at no minimum.
    assert metrics.minimum_accuracy(changed({(1, 0): 0.01, (1, 1): 0.01})) == pytest.approx(0.65)


def test_evaluations_inside_tasks_show_the_stability_gap() -> None:
    inside = np.full((3, 2, 3), np.nan)
    inside[0, 1, 0] = 0.01  # while task 1 itself is learnt, which does not count
    inside[1, 0, 0], inside[1, 0, 1] = (
        0.20,
        0.02,
    )  # just after the first switch: task 1's gap, and task 2 itself
    inside[2, :, :2] = [[0.55, 0.30], [0.65, 0.90]]
    assert metrics.minimum_accuracy(ACCURACY, inside) == pytest.approx((0.20 + 0.30) / 2)
    assert metrics.minimum_accuracy(ACCURACY, inside[:, :0]) == metrics.minimum_accuracy(ACCURACY)
    by_hand = 0.95 / 3 + 2 / 3 * 0.25
    assert metrics.worst_case_accuracy(ACCURACY, inside) == pytest.approx(by_hand)


def test_worst_case_accuracy_weighs_the_last_task_and_the_minima() -> None:
    assert metrics.worst_case_accuracy(ACCURACY) == pytest.approx(0.95 / 3 + 2 / 3 * 0.65)
    assert metrics.worst_case_accuracy(ACCURACY[:2, :1]) == pytest.approx(0.9)


def test_stability_gap_is_the_mean_drop_after_a_switch() -> None:
    inside = np.full((3, 2, 3), np.nan)
    inside[0, :, 0] = 0.01  # no switch comes before the first task
    inside[1, :, :2] = [[0.20, 0.01], [0.65, 0.50]]
    inside[2, :, :3] = [[0.75, 0.30, 0.01], [0.72, 0.60, 0.5]]
    by_hand = ((0.90 - 0.20) + ((0.70 - 0.72) + (0.80 - 0.30)) / 2) / 2
    assert metrics.stability_gap(ACCURACY, inside) == pytest.approx(by_hand)
    some = inside.copy()
    some[1, 1], some[2, 1, :2] = np.nan, np.nan  # of which one was the lowest
    assert metrics.stability_gap(ACCURACY, some) == pytest.approx(by_hand - 0.03 / 4)
    some[2, 0, 1] = np.nan  # task 2 was never seen inside task 3
    assert np.isnan(metrics.stability_gap(ACCURACY, some))
    assert np.isnan(metrics.stability_gap(changed({(1, 0): np.nan}), inside))
    assert np.isnan(metrics.stability_gap(ACCURACY[:2, :1], np.ones((1, 2, 1))))
    seeds = metrics.stability_gap(np.stack([ACCURACY] * 2), np.stack([inside, inside - 0.1]))
    assert seeds == pytest.approx([by_hand, by_hand + 0.1])


def test_intransigence_is_what_joint_training_learns_better() -> None:
    joint = np.array([0.95, 0.85, 0.90])
    by_hand = (0.05 + 0.05 - 0.05) / 3
    assert metrics.intransigence(ACCURACY, joint) == pytest.approx(by_hand)
    seeds = np.stack([ACCURACY, ACCURACY + 0.01])
    assert metrics.intransigence(seeds, joint) == pytest.approx([by_hand, by_hand - 0.01])
    with pytest.raises(ValueError, match=r"^joint is of shape \(2,\); .* with T = 3 tasks\."):
        metrics.intransigence(ACCURACY, joint[:2])


def test_learning_curve_area_is_the_mean_accuracy_while_a_task_is_learnt() -> None:
    before, after = (0.10 + 0.30 + 0.40) / 3, (0.90 + 0.80 + 0.95) / 3
    assert metrics.learning_curve_area(ACCURACY) == pytest.approx((before + after) / 2)
    inside = np.full((3, 1, 3), np.nan)
    inside[[0, 1, 2], 0, [0, 1, 2]] = [0.70, 0.60, 0.80]
    by_hand = 0.25 * (before + 0.70) / 2 + 0.75 * (0.70 + after) / 2
    area = metrics.learning_curve_area(ACCURACY, inside, np.array([0.25]))
    assert area == pytest.approx(by_hand)
    # The second task ends before there is an evaluation inside, and the third has it later.
    inside[1, 0, 1] = np.nan
    shares = np.array([[0.25], [np.nan], [0.5]])
    tasks = (
        0.25 * (0.10 + 0.70) / 2 + 0.75 * (0.70 + 0.90) / 2,
        (0.30 + 0.80) / 2,
        0.5 * (0.40 + 0.80) / 2 + 0.5 * (0.80 + 0.95) / 2,
    )
    area = metrics.learning_curve_area(ACCURACY, inside, shares)
    assert area == pytest.approx(np.mean(tasks))


@pytest.mark.parametrize(
    ("inside", "progress", "sentence"),
    [
        (np.ones((3, 1, 3)), None, "inside and progress belong together"),
        (None, np.array([0.5]), "inside and progress belong together"),
        (
            np.ones((3, 2, 3)),
            np.array([0.5]),
            r"progress is \[0.5\]; it must be 2 ascending shares",
        ),
        (np.ones((3, 2, 3)), np.array([0.5, 0.5]), "progress is .* ascending shares within"),
        (np.ones((3, 1, 3)), np.array([1.0]), "progress is .* ascending shares within"),
        (np.ones((3, 1, 3)), np.ones((2, 1)) / 2, "progress is .* ascending shares within"),
        (
            np.ones((3, 2, 3)),
            np.array([[np.nan, 0.5]] * 3),
            "progress is .* ascending shares within",
        ),
        (np.ones((3, 3)), np.array([0.5]), r"inside is of shape \(3, 3\); .* with T = 3 tasks"),
        (np.ones((3, 1, 2)), np.array([0.5]), r"inside is of shape \(3, 1, 2\); it must be"),
    ],
)
def test_evaluations_inside_tasks_of_another_shape_are_refused(
    inside: np.ndarray | None, progress: np.ndarray | None, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        metrics.learning_curve_area(ACCURACY, inside, progress)
    if inside is not None and inside.shape[-1] != inside.shape[0]:
        with pytest.raises(ValueError, match=f"^{sentence}"):
            metrics.minimum_accuracy(ACCURACY, inside)


# Per metric, the cells (after task t, task i) that it needs, of all twelve; the others may be NaN.
LEARNT = [(1, 0), (2, 1), (3, 2)]
FORGOTTEN = [(2, 0), (3, 0), (3, 1)]
NEEDED = [
    (metrics.forgetting, LEARNT[:2] + FORGOTTEN),
    (metrics.average_incremental_accuracy, LEARNT + FORGOTTEN),
    (metrics.minimum_accuracy, FORGOTTEN),
    (metrics.worst_case_accuracy, [*FORGOTTEN, (3, 2)]),
    (functools.partial(metrics.intransigence, joint=ACCURACY[-1]), LEARNT),
    (metrics.learning_curve_area, [*LEARNT, (0, 0), (1, 1), (2, 2)]),
]


@pytest.mark.parametrize(("metric", "needed"), NEEDED)
def test_a_metric_is_undefined_where_a_cell_it_needs_was_not_evaluated(
    metric: Callable[[np.ndarray], np.ndarray], needed: list[tuple[int, int]]
) -> None:
    for cell in np.ndindex(ACCURACY.shape):
        assert np.isnan(metric(changed({cell: np.nan}))) == (cell in needed)


@pytest.mark.parametrize("metric", [metrics.forgetting, metrics.minimum_accuracy])
def test_a_single_task_forgets_nothing(metric: Callable[[np.ndarray], np.ndarray]) -> None:
    assert np.isnan(metric(ACCURACY[:2, :1]))


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
        *(metric for metric, _ in NEEDED),
    ],
)
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_leading_axes_are_kept(metric: Callable[[np.ndarray], np.ndarray], num_tasks: int) -> None:
    if isinstance(metric, functools.partial):
        metric = functools.partial(metric.func, joint=ACCURACY[-1, :num_tasks])
    accuracy = np.random.default_rng(0).random((2, 5, num_tasks + 1, num_tasks))
    values = metric(accuracy)
    assert values.shape == (2, 5)
    np.testing.assert_allclose(values[1, 3], metric(accuracy[1, 3]))


@pytest.mark.parametrize(
    "metric",
    [
        metrics.learning_accuracy,
        metrics.backward_transfer,
        metrics.forward_transfer,
        *(metric for metric, _ in NEEDED),
    ],
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
