"""Statistics over seeds, by hand, by enumeration and against scipy's tests of the same samples."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lamaml_jax.analysis import equivalence_to_published, holm, paired_test, summarise

NAN, INF = math.nan, math.inf


def test_a_summary_by_hand() -> None:
    found = summarise([70.0, 72.0, 74.0, 76.0, 78.0])
    assert found[:3] == (5, 0, 74.0)
    assert found.std == pytest.approx(math.sqrt(40 / 4))
    half = 2.776445 * math.sqrt(
        10 / 5
    )  # the t quantile for 97.5 % and 4 degrees of freedom, from tables
    assert (found.low, found.high) == pytest.approx((74 - half, 74 + half), abs=1e-5)
    narrow = summarise([70.0, 72.0, 74.0, 76.0, 78.0], confidence=0.9)
    assert narrow.high == pytest.approx(74 + 2.131847 * math.sqrt(2), abs=1e-5)


def test_seeds_that_diverged_are_left_out_and_counted() -> None:
    assert summarise([70.0, NAN, 72.0, INF]) == summarise([70.0, 72.0])._replace(left_out=2)
    test = paired_test([1.0, NAN, 3.0, INF, 5.0], [0.0, 1.0, NAN, INF, 2.0])
    assert test == paired_test([1.0, 5.0], [0.0, 2.0])._replace(left_out=3)
    found = equivalence_to_published([70.0, NAN, 71.0], mean=70, std=1, num_seeds=5)
    assert found == equivalence_to_published([70.0, 71.0], mean=70, std=1, num_seeds=5)._replace(
        left_out=1
    )


@pytest.mark.parametrize("values", [[], [NAN], [50.0]])
def test_too_few_seeds_leave_the_spread_undefined(values: list[float]) -> None:
    found = summarise(values)
    assert np.isnan([found.std, found.low, found.high]).all()
    assert math.isnan(found.mean) == (values != [50.0])
    assert equivalence_to_published(values, mean=50, std=1, num_seeds=5).verdict == "cannot tell"
    test = paired_test(values, values)
    assert math.isnan(test.effect_size)
    assert math.isnan(test.p_value) == math.isnan(test.smallest_p) == (test.num_pairs == 0)
    assert test.num_pairs == 0 or test.p_value == test.smallest_p == 1


@pytest.mark.parametrize("num_pairs", [2, 5, 8])
def test_a_permutation_test_counts_all_signs(num_pairs: int) -> None:
    rng = np.random.default_rng(num_pairs)
    first, second = rng.normal(0.5, size=num_pairs), rng.normal(size=num_pairs)
    difference = first - second
    ways = np.array(list(itertools.product([-1, 1], repeat=num_pairs))) @ difference
    as_far = np.abs(ways) >= abs(difference.sum()) - 1e-9
    found = paired_test(first, second)
    assert found.p_value == pytest.approx(as_far.mean())
    assert 0.05 < found.p_value < 1  # the case tells something
    assert found.difference == pytest.approx(difference.mean())
    assert found.smallest_p == 2 / 2**num_pairs


def test_a_clear_difference_attains_the_smallest_p_and_no_less() -> None:
    found = paired_test([5.0, 6.0, 7.0, 8.0, 9.0], [1.0, 2.5, 3.0, 4.0, 5.0])
    assert found.p_value == found.smallest_p == 0.0625
    assert paired_test([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 6.0, 7.0, 8.0, 9.0]).p_value == 0.0625
    assert paired_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).p_value == 1


def test_ways_that_are_as_far_but_for_rounding_count() -> None:
    first, second = np.array([[0.71, 0.72, 0.73, 0.75], [0.70, 0.71, 0.72, 0.76]])
    for scale, dtype in itertools.product((1, 100), (np.float64, np.float32)):
        found = paired_test(scale * first.astype(dtype), scale * second.astype(dtype))
        assert (
            found.p_value == 0.625
        )  # 10 of 16 sums of +-1, +-1, +-1 and -+1 are at least 2 from zero


def test_the_effect_size_is_in_units_of_the_differences_deviation() -> None:
    found = paired_test([3.0, 5.0, 10.0], [1.0, 1.0, 4.0])  # differences 2, 4, 6
    assert found.effect_size == pytest.approx(4 / 2)
    t = stats.ttest_rel([3.0, 5.0, 10.0], [1.0, 1.0, 4.0]).statistic
    assert found.effect_size == pytest.approx(t / math.sqrt(3))
    assert math.isnan(paired_test([2.0, 3.0], [1.0, 2.0]).effect_size)
    for dtype in (np.float64, np.float32):  # the same but for rounding
        first, second = np.array([[0.3, 0.4, 0.5], [0.2, 0.3, 0.4]], dtype)
        assert math.isnan(paired_test(first, second).effect_size)
    left_out = paired_test([1e20, 0.3, 0.5, 0.9], [math.nan, 0.2, 0.3, 0.4])
    assert left_out.effect_size == pytest.approx(1.281, abs=1e-3) and left_out.left_out == 1


def test_many_pairs_are_drawn_and_always_the_same() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.4, size=40), rng.normal(size=40)
    found = paired_test(first, second)
    assert found == paired_test(first, second)
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=0.2)
    assert found.smallest_p == 2 / (2**16 + 1)


def test_holm_multiplies_by_the_hypotheses_left() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1, 1])
    np.testing.assert_allclose(holm([0.04, NAN, 0.02]), [0.04, NAN, 0.04])
    assert holm([]).shape == (0,)


def test_holm_rejects_what_stepping_down_rejects() -> None:
    p_values = np.random.default_rng(0).uniform(0, 0.1, 6)
    corrected = holm(p_values)
    for level in np.linspace(0.001, 0.5, 60):
        rejected = set()
        for step, i in enumerate(np.argsort(p_values)):
            if p_values[i] > level / (len(p_values) - step):
                break
            rejected.add(i)
        assert set(np.flatnonzero(corrected <= level)) == rejected


def test_intervals_of_the_difference_are_welchs() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(70, 2, 5), rng.normal(71, 1, 8)
    published = {"mean": theirs.mean(), "std": theirs.std(ddof=1), "num_seeds": 8}
    found = equivalence_to_published(ours, **published)
    welch = stats.ttest_ind(ours, theirs, equal_var=False)
    assert found.difference == pytest.approx(ours.mean() - theirs.mean())
    for confidence, interval in ((0.90, found.interval_90), (0.95, found.interval_95)):
        assert interval == pytest.approx(tuple(welch.confidence_interval(confidence)))


# Five seeds a side with a deviation of 1: the error is sqrt(2 / 5), with 8 degrees of freedom, whose t quantiles are
# 1.8595 and 2.3060. So the 90 % interval is +-1.1761 and the 95 % interval +-1.4585.
SPREAD = np.array([-1.0, -1.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (0.0, "yes"),
        (0.32, "yes"),
        (-0.32, "yes"),
        (0.33, "cannot tell"),
        (-0.33, "cannot tell"),
        (1.5, "cannot tell"),
        (2.95, "cannot tell"),
        (-2.95, "cannot tell"),
        (2.96, "no"),
        (-2.96, "no"),
    ],
)
def test_a_verdict_follows_from_the_intervals(difference: float, verdict: str) -> None:
    ours = 70 + difference + SPREAD
    found = equivalence_to_published(ours, mean=70, std=1, num_seeds=5, margin=1.5)
    assert found.verdict == verdict
    assert found.interval_90 == pytest.approx((difference - 1.1761, difference + 1.1761), abs=1e-4)
    assert found.interval_95 == pytest.approx((difference - 1.4585, difference + 1.4585), abs=1e-4)
    wide = equivalence_to_published(ours, mean=70, std=1, num_seeds=5, margin=5)
    assert wide.verdict == "yes"


def test_an_unknown_deviation_cannot_tell_and_none_at_all_can() -> None:
    found = equivalence_to_published([70.0, 71.0], mean=70, std=NAN, num_seeds=5)
    assert found.verdict == "cannot tell"
    exact = equivalence_to_published([70.0, 70.0], mean=70.5, std=0, num_seeds=5)
    assert (exact.verdict, exact.interval_95) == ("yes", (-0.5, -0.5))


def test_bad_arguments_get_one_sentence() -> None:
    published = {"mean": 70.0, "std": 1.0, "num_seeds": 5}
    for change, sentence in (
        ({"std": -1.0}, r"std is -1\.0; it must be >= 0"),
        ({"num_seeds": 1}, r"num_seeds is 1; it must be an integer >= 2"),
        ({"margin": 0.0}, r"margin is 0\.0; it must be > 0"),
        ({"margin": NAN}, "margin is nan; it must be > 0"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}"):
            equivalence_to_published([70.0, 71.0], **published | change)
    with pytest.raises(ValueError, match=r"^confidence is 95; it must be in \(0, 1\)"):
        summarise([1.0, 2.0], confidence=95)
    with pytest.raises(ValueError, match=r"^values must be one value per seed, \[S\]"):
        summarise([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"^first and second are of shape \(2,\) and \(3,\)"):
        paired_test([1.0, 2.0], [1.0, 2.0, 3.0])
    for wrong in ([-0.1], [1.1], [[0.5]]):
        with pytest.raises(ValueError, match=r"^p_values is .*; it must be a row of numbers in"):
            holm(wrong)
