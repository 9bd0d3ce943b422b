"""The axes of a sweep, as they are written."""

import itertools

import numpy as np
import pytest
from scipy.stats import qmc

from experiments.sweeps import grid


def test_a_list_keeps_its_words_in_their_order() -> None:
    axis = grid.parse("order=second,first")
    assert (axis.name, axis.values, axis.scale) == ("order", ("second", "first"), "words")


def test_a_log_range_has_equal_ratios_and_both_ends() -> None:
    axis = grid.parse("lr_init=0.001:1:log4")
    np.testing.assert_allclose([float(v) for v in axis.values], [0.001, 0.01, 0.1, 1.0])
    assert axis.scale == "log"


def test_a_lin_range_of_integers_is_written_as_integers() -> None:
    assert grid.parse("glances=1:9:lin5").values == ("1", "3", "5", "7", "9")


def test_range_of_an_integer_is_spaced_in_integers() -> None:
    axis = grid.parse("memory=10:1000:log4", integers={"memory"})
    assert axis.values == ("10", "46", "215", "1000")
    with pytest.raises(ValueError, match="different from each other"):
        grid.parse("glances=1:3:lin6", integers={"glances"})


@pytest.mark.parametrize(
    ("text", "scale"), [("lr=0.01,0.03,0.1", "log"), ("x=1,2,3", "lin"), ("x=-1,0,30", "lin")]
)
def test_numbers_that_are_listed_are_drawn_on_their_scale(text: str, scale: str) -> None:
    assert grid.parse(text).scale == scale


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("lr", "must be name=a,b,c"),
        ("lr=", "must be name=a,b,c"),
        ("=1", "must be name=a,b,c"),
        ("lr=1,,2", "none empty"),
        ("lr=1,1", "different from each other"),
        ("lr=0.1,0.1000", "different from each other"),
        ("lr=1e-1,0.1", "different from each other"),
        ("flip=true,True", "different from each other"),
        ("lr=0.1:0.1000001:lin5", "different from each other"),
        ("lr=0.1:0.2:lin" + "9" * 5000, "name=low:high:logN"),
        ("lr=0.1:0.2", "name=low:high:logN"),
        ("lr=0.1:0.2:8", "name=low:high:logN"),
        ("lr=0.1:0.2:log-3", "name=low:high:logN"),
        ("lr=a:1:log3", "name=low:high:logN"),
        ("lr=0:inf:lin3", "name=low:high:logN"),
        ("lr=0.1:0.2:log1", "2 values or more"),
        ("lr=0.3:0.1:log8", "low end must be below"),
        ("lr=0:0.1:log8", "must be above 0"),
        ("lr=-1:0.1:log8", "must be above 0"),
    ],
)
def test_a_text_that_is_no_axis_is_quoted(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        grid.parse(text)
    assert repr(text) in str(caught.value)


def test_a_grid_combines_every_value_with_every_other() -> None:
    points = grid.product([grid.parse("a=1,2"), grid.parse("b=x,y,z")])
    assert points == [("1", "x"), ("1", "y"), ("1", "z"), ("2", "x"), ("2", "y"), ("2", "z")]


def test_a_range_without_a_number_is_for_random_points_only() -> None:
    axis = grid.parse("lr=0.01:1:log")
    with pytest.raises(ValueError, match="random must be given"):
        grid.product([axis])
    assert len(grid.random([axis], 3, seed=0)) == 3


def test_values_of_a_list_must_be_there() -> None:
    with pytest.raises(ValueError, match="passes is ''; its values must be one or more"):
        grid.listed("glances", [], "passes is ''")


@pytest.mark.parametrize("count", ["lin100000000", "log100000000"])
def test_too_many_points_are_refused_before_any_is_made(
    count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*arguments: object) -> None:
        raise AssertionError(arguments)

    for module, name in (
        (np, "linspace"),
        (np, "geomspace"),
        (itertools, "product"),
        (qmc, "Sobol"),
    ):
        monkeypatch.setattr(module, name, made)
    axes = [grid.listed(name, [str(i) for i in range(300)]) for name in "abc"]
    for many in (False, True):
        with pytest.raises(ValueError, match="grid has 100,000,000 points; .* 1,000,000 at most"):
            grid.parse(f"lr=0.1:0.2:{count}", many=many)
        with pytest.raises(ValueError, match="grid has 27,000,000 points; .* 1,000,000 at most"):
            grid.product(axes, many=many)
        with pytest.raises(ValueError, match="grid has 2,000,000,000 points; .* 1,000,000 at most"):
            grid.random(axes, 2_000_000_000, seed=0, many=many)
    with pytest.raises(ValueError, match="grid has 90,000 points, more than 10,000; pass --yes"):
        grid.product(axes[:2])
    with pytest.raises(ValueError, match="grid has 10,001 points, more than 10,000; pass --yes"):
        grid.random(axes, 10_001, seed=0)


def test_more_points_than_usual_can_be_meant() -> None:
    axis = grid.parse("lr=0.1:0.2:lin10001", many=True)
    assert len(grid.product([axis], many=True)) == 10_001
    assert len(grid.random([axis], 10_001, seed=0, many=True)) > 9_900  # of six digits each


def test_random_integers_are_rounded_and_each_point_is_drawn_once() -> None:
    axes = [grid.parse("memory=10:1000:log"), grid.parse("lr=0.01:0.1:log")]
    points = grid.random(axes, 16, seed=0, integers={"memory"})
    assert all(memory.isdecimal() and 10 <= int(memory) <= 1000 for memory, _ in points)
    assert len(points) == 16 and not any(lr.isdecimal() for _, lr in points)
    few = grid.random([grid.parse("glances=1:3:lin")], 16, seed=0, integers={"glances"})
    assert sorted(few) == [("1",), ("2",), ("3",)]


def test_an_axis_stands_once() -> None:
    axes = [grid.parse("lr=1,2"), grid.parse("lr=3,4")]
    with pytest.raises(ValueError, match="twice over lr"):
        grid.product(axes)
    with pytest.raises(ValueError, match="twice over lr"):
        grid.random(axes, 4, seed=0)


def test_random_points_cover_every_decade_and_every_word_evenly() -> None:
    axes = [grid.parse("lr=0.0001:1:log"), grid.parse("order=first,second")]
    points = grid.random(axes, 64, seed=3)
    decades = np.bincount([int(np.floor(np.log10(float(lr)))) + 4 for lr, _ in points])
    np.testing.assert_array_equal(decades, [16, 16, 16, 16])
    assert sum(order == "first" for _, order in points) == 32
    assert points == grid.random(axes, 64, seed=3) != grid.random(axes, 64, seed=4)
    with pytest.raises(ValueError, match="random is 0"):
        grid.random(axes, 0, seed=3)
