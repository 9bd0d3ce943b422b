"""Arrays that a user brings as tasks: whether they are alike and sound, and how a stream holds them.

Dimensions: N examples of a task, B batch, C outputs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Arrays: TypeAlias = tuple[npt.ArrayLike, npt.ArrayLike]
"""The inputs `[N, ...]` and labels `[N]` of a task, or targets `[N, C]` of a loss of one's own."""

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]
"""The same as arrays, once they are checked."""


def checked_tasks(
    train_tasks: Sequence[Arrays | None], test_tasks: Sequence[Arrays]
) -> tuple[list[Pair | None], list[Pair]]:
    """Return all tasks as arrays, once they are found to be alike."""
    train_tasks, test_tasks = _listed("train_tasks", train_tasks), _listed("test_tasks", test_tasks)
    if not len(train_tasks) or len(train_tasks) != len(test_tasks):
        raise ValueError(
            f"train_tasks holds {len(train_tasks)} tasks and test_tasks {len(test_tasks)}; they must hold the same "
            "tasks, one or more."
        )
    train = [None if t is None else _pair("train_tasks", i, t) for i, t in enumerate(train_tasks)]
    test = [_pair("test_tasks", i, t) for i, t in enumerate(test_tasks)]
    if all(task is None for task in train):
        raise ValueError("train_tasks holds None alone; it must hold a task that is learnt.")
    (first_x, first_y), of_first = test[0], "test_tasks[0]"
    for name, tasks in (("train_tasks", train), ("test_tasks", test)):
        for i, task in enumerate(tasks):
            if task is None:
                continue
            for part, array, first in zip("xy", task, (first_x, first_y), strict=True):
                kinds = _kind(array), _kind(first)
                alike = kinds[0] == kinds[1] or (part == "y" and "float" not in kinds)
                if array.shape[1:] != first.shape[1:] or not alike:
                    raise ValueError(
                        f"{name}[{i}] has {part} of {array.dtype} and shape {array.shape}; all tasks must be alike, as "
                        f"{of_first}, of {first.dtype} and shape {first.shape}."
                    )
    return train, test


def is_classes(labels: np.ndarray) -> bool:
    """Return whether labels are classes, and not targets of a loss of one's own."""
    return _kind(labels) != "float"


def stored_dtype(x: np.ndarray) -> np.dtype:
    """Return uint8, int32, or float32; the last two in double precision where JAX is set to it and they are."""
    wanted = {"uint8": np.uint8, "int": np.int32, "bool": np.float32, "float": np.float32}[_kind(x)]
    canonical = jax.dtypes.canonicalize_dtype(x.dtype)
    return np.dtype(np.float64 if canonical == np.float64 else wanted)


def stored_like(name: str, x: Any, images: np.ndarray) -> np.ndarray:
    """Return inputs in the form in which a stream holds its own.

    Raises:
        ValueError: They are of another shape or kind; `name` is what the message calls them.
    """
    x = np.asarray(x)
    if not x.ndim or not len(x) or not _are_alike(x, images) or not _is_held(x, images):
        raise ValueError(
            f"{name} is {x.dtype} of shape {x.shape}; it must be {images.dtype} of shape "
            f"[B, {', '.join(map(str, images.shape[1:]))}], as the stream's inputs are, one or more."
        )
    return stored(name, x, images.dtype).reshape(-1, *images.shape[1:])


def stored(name: str, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return an array in the type in which it is held.

    Raises:
        ValueError: That cannot hold its numbers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        cast = x.astype(dtype)
    whole = np.isfinite(cast) if _kind(x) == "float" else cast == x
    if not whole.all():
        first = np.argwhere(~whole)[0].tolist()
        raise ValueError(
            f"{name} has {x[tuple(first)]} at {first}, which {dtype} cannot hold; all numbers must be within its range."
        )
    return cast


def as_array(name: str, values: Any) -> np.ndarray:
    """Return values as an array.

    Raises:
        ValueError: numpy cannot read them, or would lose a mask.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"{name} is masked; it must be an array without missing values.")
    try:
        return np.asarray(values)
    except Exception as error:
        said, *_ = [*str(error).splitlines(), ""]
        raise ValueError(
            f"{name} is a {type(values).__name__} that numpy cannot read; it must be an array: {said}"
        ) from error


def _listed(name: str, tasks: Any) -> list[Any]:
    if isinstance(tasks, Mapping | str) or not isinstance(tasks, Iterable):
        raise ValueError(
            f"{name} is a {type(tasks).__name__}; it must be a list of pairs of inputs and labels, one for each task."
        )
    return list(tasks)


def _pair(name: str, i: int, task: Any) -> Pair:
    """Return a task's inputs and labels as arrays."""
    where = f"{name}[{i}]"
    if not isinstance(task, Sequence) or len(task) != 2:
        of_length = f" of {len(task)}" if isinstance(task, Sequence) else ""
        raise ValueError(
            f"{where} is a {type(task).__name__}{of_length}; it must be a pair of a task's inputs and labels, as "
            f"{name} is a list of such pairs."
        )
    x, y = (
        as_array(f"{part} of {where}", a)
        for part, a in zip(("inputs", "labels"), task, strict=True)
    )
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(
            f"{where} has inputs of shape {x.shape} and labels of shape {y.shape}; there must be a label per input."
        )
    if not len(x):
        raise ValueError(f"{where} has no example; it must have one or more.")
    for part, array in (("inputs", x), ("labels", y)):
        if _kind(array) == "other":
            allowed = "numbers" if part == "inputs" else "integers, a class each, counted from 0"
            raise ValueError(f"{where} has {part} of dtype {array.dtype}; they must be {allowed}.")
        if _kind(array) == "float" and len(bad := np.argwhere(~_is_finite(array))):
            raise ValueError(
                f"{where} has {part} that are not finite, first at {bad[0].tolist()}; all must be finite numbers."
            )
    if is_classes(y) and (y.ndim != 1 or y.min() < 0):
        one_hot = (
            ": of one-hot rows their argmax(axis=1)" if y.ndim == 2 and y.size > len(y) else ""
        )
        raise ValueError(
            f"{where} has integer labels of shape {y.shape} from {y.min()}; they must be classes [N], counted from 0"
            f"{one_hot}, or floats for a loss of your own."
        )
    return x, y


def _is_finite(array: np.ndarray) -> np.ndarray:
    return np.isfinite(array.astype(np.float64))


def _are_alike(x: np.ndarray, images: np.ndarray) -> bool:
    """Return whether examples have one layout: but for axes of length one, or because either's are flat."""
    of_x, of_images = x.shape[1:], images.shape[1:]
    if 1 in (len(of_x), len(of_images)):
        return np.prod(of_x) == np.prod(of_images)
    return [n for n in of_x if n != 1] == [n for n in of_images if n != 1]


def _is_held(x: np.ndarray, images: np.ndarray) -> bool:
    """Return whether inputs are of the stream's kind, or of one whose numbers mean the same there."""
    kinds = _kind(x), _kind(images)
    return kinds[0] == kinds[1] or kinds in _HELD


_HELD = {("bool", "float"), ("int", "float"), ("bool", "int"), ("uint8", "int")}


def _kind(array: np.ndarray) -> str:
    if array.dtype == np.uint8:
        return "uint8"
    kinds: dict[str, Any] = {"float": jnp.floating, "int": jnp.integer, "bool": jnp.bool_}
    return next((n for n, of in kinds.items() if jnp.issubdtype(array.dtype, of)), "other")
