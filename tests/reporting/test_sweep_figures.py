"""Pictures of sweeps: which fits which axes, and what is drawn where."""

import itertools

import numpy as np
import pytest

from experiments.reporting import sweep_figures, sweep_pictures
from experiments.sweeps.grid import Axis, Point, listed
from experiments.sweeps.results import Sweep


def swept(axes: list[Axis], points: list[Point], diverged: tuple[int, ...] = ()) -> Sweep:
    """Return a sweep in which the i-th point has RA 10 i and 10 i + 2 of two seeds."""
    ra = 10.0 * np.arange(len(points))[:, None] + np.array([0.0, 2.0])
    ra[list(diverged)] = np.nan
    seconds = np.zeros(len(points))
    return Sweep(axes, points, (0, 1), {"ra": ra}, np.isnan(ra), seconds, seconds)


def product(*axes: Axis) -> list[Point]:
    return list(itertools.product(*(axis.values for axis in axes)))


def test_one_axis_is_a_line_in_ascending_order_with_crosses_where_a_run_diverged() -> None:
    axis = listed("lr", ["0.3", "0.01", "0.1"])
    (ax,) = sweep_pictures.plot(swept([axis], product(axis), diverged=(0,)), "title").axes
    line, crosses = ax.lines
    np.testing.assert_allclose(line.get_xdata(), [0.01, 0.1, 0.3])
    np.testing.assert_allclose(line.get_ydata(), [11, 21, np.nan])
    np.testing.assert_allclose(crosses.get_xdata(), [0.3])
    assert ax.get_xscale() == "log"


@pytest.mark.parametrize(
    ("values", "ticks"), [(["1", "2", "10"], [1, 2, 10]), (["1", "1.5", "10"], None)]
)
def test_few_whole_numbers_have_a_tick_each(values: list[str], ticks: list[int] | None) -> None:
    axis = listed("glances", values)
    (ax,) = sweep_pictures.plot(swept([axis], product(axis)), "title").axes
    assert ax.get_xscale() == "log"
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert (labels == values) == (ticks is not None)
    if ticks:
        np.testing.assert_array_equal(ax.get_xticks(), ticks)


def test_seeds_of_streams_are_not_joined() -> None:
    axis = listed("stream_seed", ["0", "3"])
    (ax,) = sweep_pictures.plot(swept([axis], product(axis)), "title").axes
    assert ax.lines[0].get_linestyle() == "None"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "3"]


def test_ring_of_the_preset_is_in_the_legend() -> None:
    lines = {"α": (["0.1", "0.3"], np.array([[1.0], [2.0]]))}
    options = {"scale": "log", "xlabel": "rate"}
    figure = sweep_figures.plot_lines(lines, "title", marked={"α": 0.3}, **options)
    (ax,) = figure.axes
    ring, key = ax.lines[1:]
    assert (ring.get_xdata().tolist(), ring.get_ydata().tolist()) == ([0.3], [2])
    assert key.get_label() == "the preset"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["α", "the preset"]


def test_two_axes_are_a_heat_map_with_the_best_framed() -> None:
    axes = [listed("a", ["1", "2"]), listed("b", ["0.1", "0.2", "0.3"])]
    figure = sweep_pictures.plot(swept(axes, product(*axes), diverged=(5,)), "title")
    (image,) = figure.axes[0].images
    np.testing.assert_allclose(np.asarray(image.get_array()), [[1, 11, 21], [31, 41, np.nan]])
    (frame,) = figure.axes[0].patches
    assert frame.get_xy() == (0.5, 0.5)
    assert [text.get_text() for text in figure.axes[0].texts].count("×") == 1


def test_a_number_and_words_are_a_line_for_each_word() -> None:
    axes = [listed("optimizer", ["sgd", "adam"]), listed("lr", ["0.01", "0.1"])]
    (ax,) = sweep_pictures.plot(swept(axes, product(*axes)), "title").axes
    assert {line.get_label(): list(line.get_ydata()) for line in ax.lines} == {
        "optimizer=sgd": [1, 11],
        "optimizer=adam": [21, 31],
    }


def test_lines_and_dots_fit_a_phone() -> None:
    axes = [listed("a", ["1", "2", "3"]), listed("b", ["5", "7", "6"])]
    one = swept(axes[:1], product(axes[0]))
    each = swept(axes, [("1", "5"), ("2", "7"), ("3", "6")])
    for sweep, panels in ((one, 1), (each, 2)):
        figure = sweep_pictures.plot(sweep, "", narrow=True)
        assert figure.get_figwidth() < 5 and len(figure.axes) == panels
        assert all(ax.get_ylabel() for ax in figure.axes)


@pytest.mark.parametrize("diverged", [(), (1,)])
def test_random_points_are_drawn_over_each_axis(diverged: tuple[int, ...]) -> None:
    axes = [listed("a", ["1", "2", "3"]), listed("b", ["5", "7", "6"])]
    points = [("1", "5"), ("2", "7"), ("3", "6")]
    first, second = sweep_pictures.plot(swept(axes, points, diverged), "title").axes
    left = [i for i in range(3) if i not in diverged]
    np.testing.assert_allclose(first.lines[0].get_xdata(), np.array([1, 2, 3])[left])
    np.testing.assert_allclose(second.lines[0].get_xdata(), np.array([5, 7, 6])[left])
    np.testing.assert_allclose(second.lines[0].get_ydata(), np.array([1, 11, 21])[left])
    assert len(first.lines) == 1 + len(diverged)
