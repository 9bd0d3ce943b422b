"""A factory's keyword-only signature as its configuration: read values from text, check ranges, part off floats.

Floats may be traced (one compiled program for many values), so their ranges are checked here, on the host; everything
else is static and checked by the factory itself.
"""

import difflib
import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lamaml_jax.types import Range


def parse(factory: Callable[..., Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` texts as values of the factory's keywords.

    Args:
        factory: A learner's factory, a network's or a benchmark's.
        assignments: Such as "lr_init=0.1", "order=second", "clip_norm=none", "inner_lr_relu=false", "hidden=200,200".

    Raises:
        ValueError: A text has no "=", its name is not a keyword of the factory, or its value not of the right type.
    """
    kinds = _kinds(factory)
    values = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} is not of the form name=value.")
        if name not in kinds:
            raise ValueError(unknown(f"setting of {name_of(factory)}", name, kinds))
        values[name] = _read(name, value, kinds[name])
    return values


def names(factory: Callable[..., Any]) -> set[str]:
    """Return the keywords of a factory that `parse` can set."""
    return set(_kinds(factory))


def part_floats(
    factory: Callable[..., Any], keywords: dict[str, Any]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Part keywords into floats, which may be traced and swept, and static ones; defaults fill what is not given.

    Returns:
        Floats by name, checked against their ranges, and all other keywords.

    Raises:
        ValueError: A name is not a keyword of the factory, or a float is out of its range.
    """
    kinds = _kinds(factory)
    for name in keywords:
        if name not in kinds:
            raise ValueError(unknown(f"setting of {name_of(factory)}", name, kinds))
    parameters = inspect.signature(factory).parameters
    values = {name: keywords.get(name, parameters[name].default) for name in kinds}
    floats = {n: v for n, v in values.items() if _range(kinds[n]) and v is not None}
    for name, value in floats.items():
        _check_float(name, value, kinds[name])
    return floats, {n: v for n, v in values.items() if n not in floats}


def check_values(factory: Callable[..., Any], keywords: Mapping[str, Any]) -> None:
    """Check those of a factory's keywords that are floats, and not traced, or bools.

    Raises:
        ValueError: A float is no finite scalar in the range that its annotation gives, or a bool is none.
    """
    kinds = _kinds(factory)
    for name, value in keywords.items():
        kind = kinds.get(name)
        if _range(kind) and not isinstance(value, jax.core.Tracer):
            _check_float(name, value, kind)
        elif kind is not None and all(of in (bool, type(None)) for of in _union(kind)):
            _check_bool(name, value, kind)


def name_of(factory: Callable[..., Any]) -> str:
    """Return what messages call a factory."""
    named = factory.func if isinstance(factory, functools.partial) else factory
    return getattr(named, "__name__", type(named).__name__)


def is_float(factory: Callable[..., Any], name: str) -> bool:
    """Return whether a keyword of a factory is a float, which may be traced and swept."""
    return _range(_kinds(factory).get(name)) is not None


def is_integer(factory: Callable[..., Any], name: str) -> bool:
    """Return whether a keyword of a factory is an integer, or one or None."""
    return int in _union(_kinds(factory).get(name))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence that says `name` is unknown, with the nearest known names."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"{name!r} is not a {what}; did you mean {' or '.join(near)}?"
    return f"{name!r} is not a {what}; there are {', '.join(known)}."


def _check_float(name: str, value: Any, kind: Any) -> None:
    """Raise ValueError unless `value`, a number or array of one, is in its annotation's range, or None if allowed."""
    if value is None and type(None) in _union(kind):
        return
    allowed = typing.cast(Range, _range(kind))
    number = value[()] if isinstance(value, np.ndarray) and value.shape == () else value
    is_array = isinstance(number, jax.Array) and number.shape == () and number.dtype != bool
    if not is_array and (isinstance(number, bool) or not isinstance(number, numbers.Real)):
        raise ValueError(f"{name} is {value!r}; it must be {allowed.text}.")
    if not math.isfinite(value) or not allowed.contains(float(value)):
        raise ValueError(f"{name} is {value}; it must be {allowed.text}.")


def _check_bool(name: str, value: Any, kind: Any) -> None:
    """Raise ValueError unless `value` is a bool of Python's or numpy's, or None if allowed."""
    if value is None and type(None) in _union(kind):
        return
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {value!r}; it must be True or False.")


def _kinds(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotation of every keyword that has a value in text form."""
    keywords = inspect.signature(factory).parameters.values()
    # Other annotations need not resolve: a program may import their types for its checker alone.
    kinds = {p.name: _resolved(factory, p) for p in keywords if p.kind is p.KEYWORD_ONLY}
    return {name: kind for name, kind in kinds.items() if _text_form(kind)}


def _resolved(factory: Callable[..., Any], keyword: inspect.Parameter) -> Any:
    """Return a keyword's annotation, of which texts are evaluated, or the type of its default where it has none."""
    if keyword.annotation is keyword.empty:
        return type(keyword.default)
    named = inspect.unwrap(factory.func if isinstance(factory, functools.partial) else factory)
    if not inspect.isroutine(named):
        named = named.__init__ if inspect.isclass(named) else type(named).__call__
    of_one = types.SimpleNamespace(__annotations__={keyword.name: keyword.annotation})
    try:
        known = getattr(inspect.unwrap(named), "__globals__", {})
        return typing.get_type_hints(of_one, known, include_extras=True)[keyword.name]
    except Exception as error:  # of any kind, as a text may say anything
        raise ValueError(
            f"{keyword.name} of {name_of(factory)} is annotated {keyword.annotation!r}, which raises "
            f"{type(error).__name__} ({error}); it must be a type that is known when the program runs."
        ) from error


def _text_form(kind: Any) -> bool:
    return any(
        _range(k) or k in (bool, int) or typing.get_origin(k) is typing.Literal or _is_integers(k)
        for k in _union(kind)
    )


def _is_integers(kind: Any) -> bool:
    """Return whether an annotation is of a sequence of integers."""
    return typing.get_origin(kind) in (Sequence, tuple, list) and int in typing.get_args(kind)


def _union(kind: Any) -> tuple[Any, ...]:
    """Return the members of `A | None`; an annotated `float | jax.Array` counts as one."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def _range(kind: Any) -> Range | None:
    for member in _union(kind):
        for extra in getattr(member, "__metadata__", ()):
            if isinstance(extra, Range):
                return extra
        if member is float:
            return _ANY
    return None


_ANY = Range("a finite number", lambda v: True)


def _read(name: str, text: str, kind: Any) -> Any:
    members = _union(kind)
    if text.lower() == "none" and type(None) in members:
        return None
    member = next((m for m in members if m is not type(None)), None)
    if _is_integers(member):
        return _read_integers(name, text)
    bounds = _range(kind)
    if typing.get_origin(member) is typing.Literal:
        choices: dict[str, Any] = {str(value): value for value in typing.get_args(member)}
        allowed = ", ".join(choices)
    elif member is bool:
        choices, allowed = {"true": True, "false": False}, "true or false"
        text = text.lower()
    else:
        choices, allowed = {}, bounds.text if bounds else "an integer"
    if type(None) in members:
        allowed += ", or none"
    try:
        return choices[text] if choices else (float(text) if bounds else int(text))
    except (KeyError, ValueError):
        raise ValueError(f"{name} is {text!r}; it must be {allowed}.") from None


def _read_integers(name: str, text: str) -> tuple[int, ...]:
    """Read "200,200", or "200x200" where commas stand between values."""
    try:
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise ValueError(
            f"{name} is {text!r}; it must be integers, as in {name}=200,200 or {name}=200x200."
        ) from None
