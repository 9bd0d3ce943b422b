"""Validation of static arguments: one sentence that names the argument, its value and what is allowed."""

import operator
import typing
from collections.abc import Callable
from typing import Any

import jax


class Refusal(ValueError):
    """A sentence of this package's own, said while a user's function is traced, that `traced` passes on as it is."""


class UnfitModel(ValueError):
    """A network lacks what a learner is made for, with these settings; other learners may still take it."""


def integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise ValueError unless `value` is an int in [low, high]; no upper bound where `high` is None."""
    allowed = f"an integer >= {low}" if high is None else f"an integer in [{low}, {high}]"
    number = operator.index(value) if _is_integer(value) else low - 1
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} is {value!r}; it must be {allowed}.")


def pieces(name: str, value: Any, batch_size: int) -> None:
    """Raise ValueError unless a batch can be cut into `value` pieces of ceil(batch_size / value) examples."""
    integer(name, value, 1, batch_size)
    size = -(-batch_size // value)
    if -(-batch_size // size) != value:
        raise ValueError(
            f"{name} is {value}; pieces of {size} examples cut the batch of {batch_size} into {-(-batch_size // size)}."
        )


def choice(name: str, value: Any, literal: Any) -> None:
    """Raise ValueError unless `value` is one of the values of a `typing.Literal`."""
    allowed = typing.get_args(literal)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, allowed))}.")


def divisor(name: str, value: Any, whole: int, what: str = "the batch size") -> None:
    """Raise ValueError unless `value` is a positive int that divides `whole`, which the message calls `what`."""
    if not _is_integer(value) or value < 1 or whole % value:
        raise ValueError(f"{name} is {value!r}; it must divide {what}, {whole}.")


def step_size(examples_per_step: int | None, batch_size: int) -> int:
    """Return how many of the examples that arrive at once share a step, all if None; raise ValueError if no divisor."""
    if examples_per_step is None:
        return batch_size
    divisor("examples_per_step", examples_per_step, batch_size)
    return examples_per_step


def traced(name: str, allowed: str, function: Callable[..., Any], *shapes: Any) -> Any:
    """Return the shapes of what a user's function returns, which is traced and not run.

    Args:
        name: What the message calls the function.
        allowed: What it must be.
        function: The user's.
        *shapes: What it is called with; the last is a batch, which the message describes.

    Raises:
        ValueError: In one sentence, what it raises, and on what.
    """
    try:
        return jax.eval_shape(function, *shapes)
    except Refusal:
        raise
    except Exception as error:
        said, *_ = [*str(error).strip().splitlines(), ""]
        raise ValueError(
            f"{name} raises {type(error).__name__} on {described(shapes[-1])}; it must be {allowed}: {said}"
        ) from error


def described(array: Any) -> str:
    """Return what messages say of inputs: their type and shape."""
    return f"inputs of {array.dtype} and shape {array.shape}"


def _is_integer(value: Any) -> bool:
    """Return whether `value` is an integer of Python, numpy or JAX."""
    if isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool":
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True
