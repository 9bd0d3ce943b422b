"""What runs with several seeds allow to say: of one learner, between two, and beside published numbers.

Seeds whose value is NaN or infinite have diverged. Each function leaves them out and counts them in `left_out`: what is
said then holds of the runs that did not diverge, and flatters a learner of which some did, so show the count.

Dimensions: S seeds, H hypotheses.
"""

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

Verdict: TypeAlias = Literal["yes", "no", "cannot tell"]

_MAX_PERMUTATIONS = 2**16


class Summary(NamedTuple):
    """One learner over its seeds.

    Attributes:
        num_seeds: Seeds that count.
        left_out: Seeds that diverged.
        mean: Of the values.
        std: Sample standard deviation, divided by n - 1; NaN for fewer than two seeds.
        low: Lower end of the confidence interval of the mean; NaN for fewer than two seeds.
        high: Its upper end.
    """

    num_seeds: int
    left_out: int
    mean: float
    std: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """Two learners on the same seeds.

    Attributes:
        num_pairs: Seeds on which neither diverged.
        left_out: Seeds on which one or both did.
        difference: Mean of first minus second.
        p_value: Two-sided, of the hypothesis that which learner got which value of a pair is chance.
        smallest_p: What this many pairs can attain at best, 2^(1 - n): 0.0625 for five. No difference, however clear,
            is significant at a level below it.
        effect_size: Cohen's d_z, the mean difference in units of the differences' sample standard deviation. Few seeds
            overrate it: by 25 % on average for five, 1 / (1 - 3 / (4 n - 5)) for n (Hedges). NaN for fewer than two
            pairs or where all differences are the same.
    """

    num_pairs: int
    left_out: int
    difference: float
    p_value: float
    smallest_p: float
    effect_size: float


class Equivalence(NamedTuple):
    """A learner beside a published mean.

    Attributes:
        verdict: Whether the two means lie within the margin of each other: "yes", "no" or "cannot tell".
        num_seeds: Our seeds that count.
        left_out: Our seeds that diverged.
        difference: Our mean minus the published one.
        interval_90: Its 90 % confidence interval, which a "yes" needs within the margin.
        interval_95: Its 95 % confidence interval, which a "no" needs beyond the margin.
    """

    verdict: Verdict
    num_seeds: int
    left_out: int
    difference: float
    interval_90: tuple[float, float]
    interval_95: tuple[float, float]


def summarise(values: ArrayLike, *, confidence: float = 0.95) -> Summary:
    """Return mean, standard deviation and Student's t interval of the mean over seeds.

    Args:
        values: One per seed `[S]`.
        confidence: Of the interval, in (0, 1).

    Raises:
        ValueError: `values` is not `[S]`, or `confidence` is out of its range.

    Example:
        >>> from lamaml_jax.analysis import summarise
        >>> found = summarise([76.0, 77.0, 75.0, float("nan")])
        >>> print(
        ...     found.num_seeds,
        ...     found.left_out,
        ...     found.mean,
        ...     found.std,
        ...     f"{found.low:.2f} {found.high:.2f}",
        ... )
        3 1 76.0 1.0 73.52 78.48
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be in (0, 1).")
    kept, left_out = _finite("values", values)
    mean, std = _mean_and_std(kept)
    half = _half_width(confidence, std / math.sqrt(max(len(kept), 1)), len(kept) - 1)
    return Summary(len(kept), left_out, mean, std, mean - half, mean + half)


def paired_test(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Return an exact paired permutation test of two learners on the same seeds.

    If the learners were alike, each pair's difference could as well have the other sign. The p-value is the share of
    the 2^n ways to choose signs whose mean difference is at least as far from zero as the one found. It assumes nothing
    of the differences' distribution. Beyond 16 pairs 65,536 ways are drawn instead, always the same.

    Seeds pair runs only where they share what a seed draws: tasks, order of the examples, initial weights. Published
    values have no such seeds: see `equivalence_to_published`. Correct the p-values of many pairs with `holm`.

    Args:
        first: One value per seed `[S]`.
        second: The other learner's, of the same seeds in the same order.

    Raises:
        ValueError: The two are not of the same shape `[S]`.

    Reference: Fisher, "The Design of Experiments", 1935; Lakens, "Calculating and reporting effect sizes to facilitate
    cumulative science", Frontiers in Psychology 2013, for d_z.

    Example:
        >>> from lamaml_jax.analysis import paired_test
        >>> found = paired_test([76.0, 77.0, 75.0, 78.0, 76.0], [71.0, 70.0, 72.0, 71.0, 70.0])
        >>> print(found.difference, found.p_value, found.smallest_p)
        5.6 0.0625 0.0625
    """
    from scipy import stats  # not above: it takes longer to import than the rest of the package

    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise ValueError(
            f"first and second are of shape {first.shape} and {second.shape}; they must be of the same seeds."
        )
    with np.errstate(invalid="ignore"):  # infinite minus infinite: both diverged
        of_all = first - second
    differences, left_out = _finite("first and second", of_all)
    num_pairs = len(differences)
    if num_pairs == 0:
        return PairedTest(0, left_out, *[math.nan] * 4)
    mean, std = _mean_and_std(differences)
    # What is the same but for how the values were rounded, is the same; accuracies are float32's.
    rounding = 4 * np.finfo(np.float32).eps * np.abs([first, second])[:, np.isfinite(of_all)].max()
    effect_size = mean / std if std > rounding else math.nan
    if num_pairs == 1:  # which scipy does not take
        return PairedTest(1, left_out, mean, 1.0, 1.0, effect_size)
    means = stats.permutation_test(
        (differences,),
        lambda d, axis: d.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_MAX_PERMUTATIONS,
        rng=0,
    ).null_distribution
    # The p-value is not scipy's, which takes means for different that are so by rounding alone. Of ways that were
    # drawn, the one found is counted as well.
    drawn = int(2**num_pairs > _MAX_PERMUTATIONS)
    as_far = min(np.sum(means <= mean + rounding), np.sum(means >= mean - rounding)) + drawn
    p_value = min(2 * float(as_far) / (len(means) + drawn), 1.0)
    smallest = max(2.0 ** (1 - num_pairs), 2 / (_MAX_PERMUTATIONS + 1))
    return PairedTest(num_pairs, left_out, mean, p_value, smallest, effect_size)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return p-values corrected for having tested many hypotheses (Holm's step-down method).

    Rejecting those that are at most a level keeps the chance of even one false rejection below the level, however the
    tests depend on each other.

    Args:
        p_values: `[H]` in [0, 1]; NaN for what could not be tested, which does not count and stays NaN.

    Returns:
        The corrected p-values `[H]`, in the same order.

    Raises:
        ValueError: `p_values` is not `[H]`, or one is out of its range.

    Reference: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    Example:
        >>> from lamaml_jax.analysis import holm
        >>> print(holm([0.01, 0.04, 0.03]))
        [0.03 0.06 0.06]
    """
    p_values = np.asarray(p_values, np.float64)
    if p_values.ndim != 1 or np.any((p_values < 0) | (p_values > 1)):
        raise ValueError(f"p_values is {p_values}; it must be a row of numbers in [0, 1] or NaN.")
    order = np.argsort(p_values)  # NaN last
    num_tested = np.count_nonzero(~np.isnan(p_values))
    factors = np.maximum(num_tested - np.arange(len(p_values)), 1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1)
    return corrected


def equivalence_to_published(
    values: ArrayLike, *, mean: float, std: float, num_seeds: int, margin: float = 1.5
) -> Equivalence:
    """Return whether our mean is within a margin of a published one, of which only mean, deviation and seeds are known.

    Both errors are bounded by 5 %. "yes": the 90 % interval of the difference lies within +-margin, which is two
    one-sided tests at 5 % (TOST) that the means are further apart. "no": the 95 % interval lies wholly beyond the
    margin, a two-sided test at 5 % that they are not. The hypotheses exclude each other, so that testing all of them
    needs no correction. Otherwise the runs "cannot tell", as too few or too spread ones often cannot. The intervals are
    Welch's, as the two deviations may differ. Seeds are not paired with published ones, even of the same number.

    Args:
        values: Ours, one per seed `[S]`, in the unit of the rest, such as percent.
        mean: Published.
        std: Published, >= 0, taken as the sample standard deviation (a population's, divided by n, would be smaller);
            NaN if unknown, which cannot tell.
        num_seeds: Behind the published mean, >= 2.
        margin: The largest difference that counts as none, > 0.

    Raises:
        ValueError: An argument is out of its range.

    Reference: Schuirmann, "A comparison of the two one-sided tests procedure and the power approach", Journal of
    Pharmacokinetics and Biopharmaceutics 1987; Goeman, Solari and Stijnen, "Three-sided hypothesis testing",
    Statistics in Medicine 2010.

    Example:
        >>> from lamaml_jax.analysis import equivalence_to_published
        >>> ours = [77.2, 77.9, 76.8, 77.5, 77.1]
        >>> equivalence_to_published(ours, mean=77.42, std=0.65, num_seeds=5).verdict
        'yes'
        >>> equivalence_to_published(ours, mean=74.07, std=0.58, num_seeds=5).verdict
        'no'
    """
    if std < 0:
        raise ValueError(f"std is {std}; it must be >= 0, or NaN if unknown.")
    if num_seeds < 2:
        raise ValueError(f"num_seeds is {num_seeds}; it must be an integer >= 2.")
    if not margin > 0:
        raise ValueError(f"margin is {margin}; it must be > 0.")
    kept, left_out = _finite("values", values)
    our_mean, our_std = _mean_and_std(kept)
    difference = our_mean - mean
    ours, theirs = our_std**2 / max(len(kept), 1), std**2 / num_seeds
    freedom = math.nan
    if ours + theirs > 0:  # Welch and Satterthwaite's degrees of freedom
        freedom = (ours + theirs) ** 2 / (ours**2 / (len(kept) - 1) + theirs**2 / (num_seeds - 1))
    intervals = []
    for confidence in (0.90, 0.95):
        half = _half_width(confidence, math.sqrt(ours + theirs), freedom)
        intervals.append((difference - half, difference + half))
    (low_90, high_90), (low_95, high_95) = intervals
    verdict: Verdict = "cannot tell"
    if -margin < low_90 and high_90 < margin:
        verdict = "yes"
    elif low_95 > margin or high_95 < -margin:
        verdict = "no"
    return Equivalence(verdict, len(kept), left_out, difference, *intervals)


def _finite(name: str, values: ArrayLike) -> tuple[np.ndarray, int]:
    """Return the finite values, and how many others there are."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name} must be one value per seed, [S]; the shape is {values.shape}.")
    is_finite = np.isfinite(values)
    return values[is_finite], int(np.count_nonzero(~is_finite))


def _mean_and_std(values: np.ndarray) -> tuple[float, float]:
    mean = float(values.mean()) if len(values) else math.nan
    return mean, float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _half_width(confidence: float, error: float, freedom: float) -> float:
    """Return half the width of a t interval, from a standard error and its degrees of freedom."""
    if error == 0:
        return 0.0
    return float(error * special.stdtrit(freedom, (1 + confidence) / 2))
