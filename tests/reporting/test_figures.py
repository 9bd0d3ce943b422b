"""The figures show the numbers they were given: means over seeds, in percent, where they exist.

Dimensions: S seeds, T tasks, L layers.
"""

import numpy as np
import pytest
from matplotlib.image import imread

from experiments.reporting import comparison, figures, pictures


def _accuracy(num_seeds: int, num_tasks: int) -> np.ndarray:
    """Return accuracies `[S, T + 1, T]` without a pattern that a wrong axis could hide in."""
    rng = np.random.default_rng(num_tasks)
    return rng.uniform(0.1, 0.9, (num_seeds, num_tasks + 1, num_tasks))


def _only_needed(accuracy: np.ndarray) -> np.ndarray:
    """Return what the metrics need: the first and last rows, the diagonal and the one above it."""
    sparse = np.full_like(accuracy, np.nan)
    sparse[:, [0, -1]] = accuracy[:, [0, -1]]
    for i in range(accuracy.shape[2]):
        sparse[:, [i, i + 1], i] = accuracy[:, [i, i + 1], i]
    return sparse


def _lines(ax):
    return [np.asarray(line.get_ydata()) for line in ax.lines]


@pytest.mark.parametrize("num_tasks", [1, 3, 100])
def test_accuracy_matrix_shows_the_mean_over_seeds_in_percent(num_tasks):
    accuracy = _accuracy(4, num_tasks)
    figure = figures.plot_accuracy_matrix(accuracy, "title")
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (num_tasks + 1, num_tasks)
    np.testing.assert_allclose(shown, 100 * accuracy.mean(axis=0))


def test_accuracy_matrix_masks_what_no_seed_evaluated():
    accuracy = _accuracy(2, 4)
    accuracy[:, 2] = np.nan
    accuracy[1, 3, 0] = np.nan  # One seed is left: its value is the mean.
    shown = figures.plot_accuracy_matrix(accuracy, "title").axes[0].images[0].get_array()
    assert np.ma.getmaskarray(shown)[2].all()
    assert np.ma.getmaskarray(shown).sum() == 4
    assert shown[3, 0] == pytest.approx(100 * accuracy[0, 3, 0])


def test_accuracy_matrix_writes_the_numbers_into_few_cells():
    accuracy = np.array([[[0.125, 0.1], [0.9, np.nan], [0.804, 0.956]]])
    texts = figures.plot_accuracy_matrix(accuracy, "title").axes[0].texts
    assert [text.get_text() for text in texts] == ["12", "10", "90", "80", "96"]


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_task_accuracies_start_when_learnt_and_end_with_the_mean_over_seen_tasks(num_seeds):
    accuracy = _accuracy(num_seeds, 5)
    ax = figures.plot_task_accuracies(accuracy, "title").axes[0]
    *tasks, mean = ax.lines
    assert len(tasks) == 5
    for i, line in enumerate(tasks):
        np.testing.assert_array_equal(line.get_xdata(), range(i + 1, 6))
        np.testing.assert_allclose(line.get_ydata(), 100 * accuracy.mean(axis=0)[i + 1 :, i])
    expected = [100 * accuracy[:, t, :t].mean() for t in range(1, 6)]
    np.testing.assert_allclose(mean.get_ydata(), expected)


def test_task_accuracies_show_just_the_points_that_exist():
    accuracy = _only_needed(_accuracy(3, 5))
    ax = figures.plot_task_accuracies(accuracy, "title").axes[0]
    *tasks, mean = ax.lines
    for i, line in enumerate(tasks[:-1]):
        np.testing.assert_array_equal(line.get_xdata(), [i + 1, 5])
        np.testing.assert_allclose(line.get_ydata(), 100 * accuracy.mean(axis=0)[[i + 1, 5], i])
    # In between, not every task seen so far was evaluated, so their mean is not known.
    np.testing.assert_array_equal(mean.get_xdata(), [1, 5])
    np.testing.assert_allclose(
        mean.get_ydata(), [100 * accuracy[:, 1, 0].mean(), 100 * accuracy[:, 5].mean()]
    )


@pytest.mark.parametrize("split", ["test", "validation"])
def test_pictures_say_what_data_accuracies_are_on(split):
    accuracy, inside = _accuracy(2, 3), np.full((2, 3, 1, 3), 0.5)
    matrix = figures.plot_accuracy_matrix(accuracy, "", split=split).axes[1]
    tasks = figures.plot_task_accuracies(accuracy, "", split=split).axes[0]
    within = figures.plot_inside_tasks(
        accuracy, inside, np.full((accuracy.shape[2], 1), 0.5), "", split=split
    ).axes[0]
    assert {ax.get_ylabel() for ax in (matrix, tasks, within)} == {f"{split} accuracy (%)"}
    compared = comparison.plot_comparison({"A": accuracy}, "", split=split).axes[0]
    assert compared.get_ylabel() == f"mean {split} accuracy, tasks seen so far (%)"
    assert comparison.plot_curves({"A": accuracy}).axes[0].get_ylabel().startswith("mean accuracy,")


def test_bands_span_one_standard_deviation():
    accuracy = np.stack([np.full((2, 1), 0.4), np.full((2, 1), 0.8)])  # S=2, T=1
    ax = figures.plot_task_accuracies(accuracy, "title").axes[0]
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((40, 80))


def test_learning_rates_show_each_layer_in_both_panels():
    rng = np.random.default_rng(0)
    rates, shares = rng.normal(size=(3, 5, 4)), rng.uniform(size=(3, 5, 4))
    names = np.array(["Dense_0/bias", "Dense_0/kernel", "Dense_1/bias", "Dense_1/kernel"])
    left, right = figures.plot_learning_rates(rates, shares, names, "title").axes
    np.testing.assert_allclose(_lines(left), rates.mean(axis=0).T)
    np.testing.assert_allclose(_lines(right), 100 * shares.mean(axis=0).T)
    assert [line.get_label() for line in left.lines] == list(names)
    colors = [line.get_color() for line in left.lines]
    styles = [line.get_linestyle() for line in left.lines]
    assert colors[0] == colors[1] != colors[2] == colors[3]  # One colour per layer,
    assert styles[0] == styles[2] != styles[1] == styles[3]  # one style per part of it.


def test_comparison_shows_retained_accuracy_and_the_metrics_beside_the_paper():
    accuracies = {"A": _accuracy(2, 3), "B": _accuracy(5, 3) / 2}
    figure = comparison.plot_comparison(accuracies, "title", {"A": 77.4}, {"B": -8.6})
    over_time, retained, transfer = figure.axes
    for line, accuracy in zip(over_time.lines, accuracies.values(), strict=True):
        expected = [100 * accuracy[:, t, :t].mean() for t in (1, 2, 3)]
        np.testing.assert_allclose(line.get_ydata(), expected)
    final = [100 * accuracy[:, 3].mean() for accuracy in accuracies.values()]
    learnt = [100 * np.mean([a[:, i + 1, i] for i in range(3)]) for a in accuracies.values()]
    np.testing.assert_allclose([bar.get_width() for bar in retained.patches], final)
    np.testing.assert_allclose(
        [bar.get_width() for bar in transfer.patches], np.subtract(final, learnt)
    )
    assert _diamonds(retained) == [(77.4, 0)]
    assert _diamonds(transfer) == [(-8.6, 1)]


def _diamonds(ax) -> list[tuple[float, float]]:
    lines = [line for line in ax.lines if line.get_marker() == "D"]
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]


@pytest.mark.parametrize("sparse", [False, True])
def test_comparison_tells_all_learners_apart(sparse):
    accuracy = _only_needed(_accuracy(3, 5)) if sparse else _accuracy(3, 5)
    left = comparison.plot_comparison({f"learner {i}": accuracy for i in range(16)}, "title").axes[
        0
    ]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in left.lines}
    assert len(looks) == 16


def test_comparison_says_where_a_metric_is_undefined():
    accuracy = _accuracy(2, 3)
    accuracy[:, 1:-1] = np.nan  # As IID is evaluated: before training and at the end.
    over_time, retained, transfer = comparison.plot_comparison({"IID": accuracy}, "title").axes
    np.testing.assert_array_equal(over_time.lines[0].get_xdata(), [3])
    assert len(retained.patches) == 1
    assert not transfer.patches
    assert transfer.texts[0].get_text() == "undefined"


@pytest.mark.parametrize(
    "num_seeds, num_tasks, sparse", [(1, 1, False), (3, 4, True), (2, 20, False)]
)
def test_pictures_of_a_run_are_written(tmp_path, num_seeds, num_tasks, sparse):
    accuracy = _accuracy(num_seeds, num_tasks)
    rates = np.random.default_rng(0).uniform(size=(num_seeds, num_tasks + 1, 2))
    results = {
        "accuracy": _only_needed(accuracy) if sparse else accuracy,
        "diverged": np.zeros(num_seeds, bool),
        "rate_mean": rates,
        "rate_share_nonpositive": rates,
        "layer_names": np.array(["kernel", "bias"]),
    }
    paths = pictures.draw_run(tmp_path / "new" / "folder", results, "title")
    assert [path.name for path in paths] == [
        "accuracy_matrix.png",
        "task_accuracy.png",
        "learning_rates.png",
    ]
    for path in paths:
        assert imread(path)[..., :3].std() > 0.01  # Not a blank page.


def test_pictures_of_a_run_leave_diverged_seeds_out(tmp_path, monkeypatch):
    shown = {}
    for name in ("plot_accuracy_matrix", "plot_task_accuracies"):
        plot = getattr(figures, name)
        monkeypatch.setattr(
            figures,
            name,
            lambda a, title, name=name, plot=plot, **of: plot(
                shown.setdefault(name, a), title, **of
            ),
        )
    accuracy = _accuracy(3, 2)
    accuracy[1] = np.nan
    results = {"accuracy": accuracy, "diverged": np.array([False, True, False])}
    paths = pictures.draw_run(tmp_path, results, "title")
    assert [path.name for path in paths] == ["accuracy_matrix.png", "task_accuracy.png"]
    for seen in shown.values():
        np.testing.assert_array_equal(seen, accuracy[[0, 2]])

    results["diverged"] = np.ones(3, bool)
    assert pictures.draw_run(tmp_path / "none", results, "title") == []
