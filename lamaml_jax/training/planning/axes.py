"""What sets runs apart, checked: seeds, and the float settings that are swept or given at points."""

import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lamaml_jax import checks, hyper
from lamaml_jax.training.runs import Factory, Point


def checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Return the seeds of what may be one integer, or integers of any kind; raise ValueError if they are not."""
    is_one = not isinstance(seeds, Iterable) or getattr(seeds, "ndim", 1) == 0
    listed: list[Any] = [seeds] if is_one else list(seeds)
    for seed in listed:
        checks.integer("seeds", seed, 0, 2**32 - 1)
    numbers = tuple(int(seed) for seed in listed)
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"seeds is {list(numbers)}; it must hold one or more different integers.")
    return numbers


def checked_points(
    learner: Factory,
    floats: Mapping[str, float],
    axes: Mapping[str, Sequence[float]],
    points: Sequence[Point] | None,
    stream_seed: int | None,
) -> tuple[Point, ...]:
    """Return the points, or the product of the axes; raise ValueError where a name or a value does not fit.

    Each says what holds of all that points vary; without a `stream_seed` every seed draws its own stream.
    """
    if points is None:
        for name, of_axis in axes.items():
            _check_different(name, [{name: value} for value in of_axis], of_axis)
        values = itertools.product(*([float(v) for v in of_axis] for of_axis in axes.values()))
        return tuple(dict(zip(axes, point, strict=True)) for point in values)
    if axes:
        raise ValueError(f"points is given; {next(iter(axes))} must be one value then, not a list.")
    if not points:
        raise ValueError("points is empty; it must hold a point, or be None.")
    for point in points:
        for name in point:
            if hyper.is_float(learner, name) and name not in floats:
                if any(p.get(name) is None for p in points):
                    raise ValueError(
                        f"points have no {name} where it is None; all must have it, or it must be given as a setting."
                    )
            elif name not in floats and name != "stream_seed":
                known = [*floats, "stream_seed"]
                raise ValueError(
                    hyper.unknown(f"float setting of {hyper.name_of(learner)}", name, known)
                )
        hyper.check_values(learner, {n: v for n, v in point.items() if n != "stream_seed"})
        if "stream_seed" in point:
            check_stream_seed(point["stream_seed"])
    holding = floats if stream_seed is None else {**floats, "stream_seed": stream_seed}
    varied = {name: holding[name] for point in points for name in point if name in holding}
    whole = tuple(
        {n: int(v) if n == "stream_seed" else float(v) for n, v in {**varied, **point}.items()}
        for point in points
    )
    _check_different("points", whole, points)
    return whole


def with_points(
    floats: Mapping[str, float], static: Mapping[str, Any], points: Sequence[Point]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the float settings and the static ones, where points give floats that are None without them."""
    given = {name: value for name, value in points[0].items() if name in static}
    return {**floats, **given}, {n: v for n, v in static.items() if n not in given}


def _check_different(name: str, points: Sequence[Point], given: Any) -> None:
    """Raise ValueError if two points are the same in float32, in which they are trained."""
    seen = set()
    for point, shown in zip(points, given, strict=True):
        known = frozenset(
            (n, int(v) if n == "stream_seed" else np.float32(v)) for n, v in point.items()
        )
        if known in seen:
            raise ValueError(
                f"{name} has {shown!r} twice, as far as float32 tells; all must be different."
            )
        seen.add(known)


def check_stream_seed(seed: Any) -> None:
    """Raise ValueError unless this is a seed."""
    checks.integer("stream_seed", seed, 0, 2**32 - 1)


def parted(
    learner: Factory, settings: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, Any], dict[str, list[float]]]:
    """Return the float settings, the static ones, and those that are swept, with their values.

    Raises:
        ValueError: A setting is unknown, lacking or out of its range, or the factory is none.
    """
    signature = inspect.signature(learner).parameters.values()
    keywords = [p.name for p in signature if p.kind is p.KEYWORD_ONLY]
    name = hyper.name_of(learner)
    if len([p for p in signature if p.kind is not p.KEYWORD_ONLY]) != 2:
        raise ValueError(
            f"learner is {name}{inspect.signature(learner)}; it must be a factory of a model and a setting, with all "
            "else keyword-only: factory(model, setting, *, ...)."
        )
    for p in signature:
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in settings:
            raise ValueError(f"{p.name} is not given; {name} has no default for it.")
    for given in settings:
        if given not in keywords:
            raise ValueError(hyper.unknown(f"setting of {name}", given, keywords))
    known = hyper.names(learner)
    swept = {
        n: _listed(n, v) for n, v in settings.items() if hyper.is_float(learner, n) and _is_list(v)
    }
    one = {n: swept[n][0] if n in swept else v for n, v in settings.items() if n in known}
    floats, static = hyper.part_floats(learner, one)
    for axis, values in swept.items():
        for value in values:
            hyper.check_values(learner, {axis: value})
    others = {n: v for n, v in settings.items() if n not in known}
    return {n: float(v) for n, v in floats.items()}, {**static, **others}, swept


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) == 1


def _listed(name: str, values: Any) -> list[float]:
    if not len(values):
        raise ValueError(f"{name} is {values!r}; it must hold one or more values.")
    if any(value is None for value in values):
        raise ValueError(
            f"{name} is {values!r}; the values of an axis must be numbers, without None."
        )
    return list(values)
