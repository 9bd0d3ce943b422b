"""Read the axes of a sweep, and combine them to points.

A point is a tuple of texts, one value per axis, as `--set` takes them; whoever makes a configuration of them checks
each against its range.
"""

import itertools
import math
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

Scale: TypeAlias = Literal["log", "lin", "words"]
Point: TypeAlias = tuple[str, ...]

MANY_POINTS = 10_000
"""Above this, a sweep is asked for twice."""

MOST_POINTS = 1_000_000
"""No sweep has more, however it is asked for."""


class Axis(NamedTuple):
    """One setting and the values that it takes.

    Attributes:
        name: The setting.
        values: In the order given; none of a range that only random points are drawn from.
        scale: How numbers are spaced and drawn: "log", "lin", or "words" for a list of anything else.
        ends: Of a range.
    """

    name: str
    values: tuple[str, ...]
    scale: Scale
    ends: tuple[float, float] | None = None


def parse(text: str, *, integers: Collection[str] = (), many: bool = False) -> Axis:
    """Read one axis.

    Args:
        text: `name=a,b,c` for a list, `name=low:high:log8` or `name=low:high:lin5` for a range of so many values, ends
            included; `log` and `lin` without a number for a range that random points are drawn from.
        integers: The names of settings whose ranges are spaced in integers.
        many: As in `check_size`.

    Raises:
        ValueError: In one sentence, what is wrong with the text.
    """
    name, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not name or not values:
        raise ValueError(
            f"grid is {text!r}; it must be name=a,b,c or name=low:high:log8 or name=low:high:lin5."
        )
    if ":" in values:
        return _range(name, values, text, whole=name in integers, many=many)
    return listed(name, [word.strip() for word in values.split(",")], f"grid is {text!r}")


def listed(name: str, values: Sequence[str], given: str = "") -> Axis:
    """Return the axis of a list of values.

    Args:
        name: The setting.
        values: Texts; those that are the same number are the same value.
        given: What begins a message instead of "grid is over NAME", such as "passes is '1,1'".

    Raises:
        ValueError: Two values are the same, one is empty, or there are none.
    """
    _check_different(values, given or f"grid is over {name}")
    return Axis(name, tuple(values), _scale_of(values))


def check_size(number: int, *, many: bool = False) -> None:
    """Check how many points, or values of one axis, are asked for, before any is made.

    Args:
        number: Of them.
        many: Whether there may be more than usual.

    Raises:
        ValueError: There are too many.
    """
    if number > MOST_POINTS:
        raise ValueError(f"grid has {number:,} points; a sweep has {MOST_POINTS:,} at most.")
    if number > MANY_POINTS and not many:
        raise ValueError(
            f"grid has {number:,} points, more than {MANY_POINTS:,}; pass --yes if that is meant."
        )


def product(axes: Sequence[Axis], *, many: bool = False) -> list[Point]:
    """Return every combination of the axes' values, the last changing fastest.

    Args:
        axes: With their values.
        many: As in `check_size`.

    Raises:
        ValueError: An axis says not how many values it has, two are of one name, or there are too many points.
    """
    _check_names(axes)
    for axis in axes:
        if not axis.values:
            raise ValueError(
                f"grid over {axis.name} is a range without a number of values; it must end with one, such as "
                f":{axis.scale}8, or random must be given."
            )
    check_size(math.prod(len(axis.values) for axis in axes), many=many)
    return list(itertools.product(*(axis.values for axis in axes)))


def random(
    axes: Sequence[Axis],
    number: int,
    seed: int,
    *,
    integers: Collection[str] = (),
    many: bool = False,
) -> list[Point]:
    """Return points of a scrambled Sobol sequence, which covers the ranges more evenly than independent draws do.

    Args:
        axes: Of a range any number is drawn, evenly on its scale; of a list one of its values.
        number: Of draws; the sequence is most even at powers of two. A point that is drawn twice, as it can be of
            lists, of integers and among very many numbers of six digits, is there once.
        seed: Of the scrambling.
        integers: The names of settings whose draws are rounded to integers.
        many: As in `check_size`.

    Raises:
        ValueError: Two axes are of one name, or `number` is below 1 or too large.
    """
    from scipy.stats import qmc  # not above: it takes half as long to import as all else

    _check_names(axes)
    if number < 1:
        raise ValueError(f"random is {number}; it must be at least 1.")
    check_size(number, many=many)
    sobol = qmc.Sobol(len(axes), rng=np.random.default_rng(seed))
    shares = sobol.random_base2(math.ceil(math.log2(number)))[:number]
    drawn = [
        tuple(
            _at(axis, share, whole=axis.name in integers)
            for axis, share in zip(axes, row, strict=True)
        )
        for row in shares
    ]
    return list(dict.fromkeys(drawn))


def number(text: str) -> float | None:
    """Return the number that a value is, or None of a word."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _range(name: str, values: str, text: str, *, whole: bool, many: bool) -> Axis:
    parts = values.split(":")
    low, high = (number(part) for part in (*parts, "", "")[:2])
    kind, count = (parts[2][:3], parts[2][3:]) if len(parts) == 3 else ("", "")
    if (
        low is None
        or high is None
        or kind not in ("log", "lin")
        or not (count.isdecimal() or not count)
        or len(count) > _DIGITS
    ):
        raise ValueError(
            f"grid is {text!r}; a range must be name=low:high:logN or name=low:high:linN, with N values."
        )
    if low >= high:
        raise ValueError(f"grid is {text!r}; the range's low end must be below its high end.")
    if kind == "log" and low <= 0:
        raise ValueError(f"grid is {text!r}; a range on a log scale must be above 0.")
    scale: Scale = "log" if kind == "log" else "lin"
    if count and int(count) < 2:
        raise ValueError(f"grid is {text!r}; a range must have 2 values or more.")
    check_size(int(count or 0), many=many)
    space = np.geomspace if kind == "log" else np.linspace
    spaced = tuple(_written(value, whole=whole) for value in space(low, high, int(count or 0)))
    if count:
        _check_different(spaced, f"grid is {text!r}")
    return Axis(name, spaced, scale, (low, high))


def _check_different(values: Sequence[str], given: str) -> None:
    """Raise ValueError unless these are one or more values, none empty and no two the same number or word."""
    kinds = {value.casefold() if (found := number(value)) is None else found for value in values}
    if not values or "" in values or len(kinds) < len(values):
        raise ValueError(
            f"{given}; its values must be one or more, different from each other, and none empty."
        )


_DIGITS = 12  # of a number of values; more than that is no number of values at all


def _scale_of(words: Sequence[str]) -> Scale:
    """Return the scale on which a list of values is drawn in pictures: equal ratios are on a log scale."""
    numbers = [value for word in words if (value := number(word)) is not None]
    if len(numbers) < len(words):
        return "words"
    is_wide = min(numbers) > 0 and max(numbers) >= 5 * min(numbers)
    return "log" if is_wide else "lin"


def _at(axis: Axis, share: float, *, whole: bool) -> str:
    """Return the value at a share in [0, 1) of an axis, a number rounded where it must be `whole`."""
    if axis.ends is None:
        return axis.values[int(share * len(axis.values))]
    low, high = axis.ends
    value = low * (high / low) ** share if axis.scale == "log" else low + share * (high - low)
    return _written(value, whole=whole)


def _written(value: float, *, whole: bool) -> str:
    return str(round(value)) if whole else f"{value:.6g}"


def _check_names(axes: Sequence[Axis]) -> None:
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"grid is given twice over {name}; it must be given once.")
