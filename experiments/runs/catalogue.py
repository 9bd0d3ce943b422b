"""What names on a command line stand for: this package's benchmarks, learners and networks, or those of a user's file.

A file's is named as FILE.py:FUNCTION; nothing is registered.
"""

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.runs import users
from lamaml_jax import LEARNERS, Model, hyper, networks, streams


class Images(NamedTuple):
    """What goes with a dataset.

    Attributes:
        num_classes: Of the dataset.
        network: The paper's, `network(num_classes, **options) -> Model`.
        eval_batch: Images that are evaluated at once.
        num_train: Training images of the whole dataset.
    """

    num_classes: int
    network: Callable[..., Model]
    eval_batch: int
    num_train: int


# With their layers as keywords, which can be set.
NETWORKS: Mapping[str, Callable[..., Model]] = {
    "mlp": functools.partial(networks.mlp, hidden=(100, 100)),
    "convnet": functools.partial(networks.convnet, filters=(160,) * 3, hidden=(320, 320)),
}
DATASETS = {
    "mnist": Images(10, NETWORKS["mlp"], 1000, 60_000),
    "fashion_mnist": Images(10, NETWORKS["mlp"], 1000, 60_000),
    "cifar100": Images(100, NETWORKS["convnet"], 250, 50_000),
    "tiny_imagenet": Images(
        200,
        functools.partial(networks.convnet, filters=(160,) * 4, hidden=(640, 640)),
        125,
        100_000,
    ),
}

_DATASETS_OF = {"split_cifar100": ("cifar100",), "split_tiny_imagenet": ("tiny_imagenet",)}


def is_own(name: str) -> bool:
    """Return whether a name is of a user's file."""
    return ":" in name


def short(name: str) -> str:
    """Return what a table calls it."""
    return name.rpartition(":")[2]


def with_all(names: Sequence[str], every: Iterable[str]) -> list[str]:
    """Return learners' names, `all` replaced by those of `every` that are not named beside it."""
    rest = [name for name in every if name not in names]
    return [name for given in names for name in (rest if given == "all" else [given])]


def learner(name: str) -> Callable[..., Any]:
    """Return a learner's factory.

    Raises:
        ValueError: There is none of this name.
    """
    return _find("learner", name, LEARNERS, ("model", "setting"))


def benchmark(name: str) -> Callable[..., Any]:
    """Return a benchmark's factory: of a dataset, or one of a user's own, of keywords alone.

    Raises:
        ValueError: There is none of this name.
    """
    return _find("benchmark", name, streams.BENCHMARKS)


def network(name: str | None, dataset: str | None) -> Callable[..., Model]:
    """Return a network's factory, `factory(num_classes, **options) -> Model`; None stands for the dataset's.

    Raises:
        ValueError: There is none of this name.
    """
    if name is not None:
        return _find("network", name, NETWORKS, ("num_classes",))
    return NETWORKS["mlp"] if dataset is None else DATASETS[dataset].network


def dataset(of_benchmark: str, name: str | None = None) -> str | None:
    """Return the dataset's name that a benchmark is of, its own by default; None of a user's benchmark.

    Raises:
        ValueError: The benchmark cannot be made of it.
    """
    if is_own(of_benchmark):
        if name is not None:
            raise ValueError(f"dataset is {name!r}; {of_benchmark} has data of its own.")
        return None
    known = _DATASETS_OF.get(of_benchmark, ("mnist", "fashion_mnist"))
    if name is not None and name not in known:
        raise ValueError(hyper.unknown(f"dataset of {of_benchmark}", name, known))
    return known[0] if name is None else name


def sources(names: Iterable[str | None]) -> dict[str, str]:
    """Return the SHA-256 of the users' files among names, by name, and of what they import from beside them."""
    own = [users.sources(name) for name in names if name is not None and is_own(name)]
    files = {name: path for found in own for name, path in found.items()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of a factory whose default a file of text can hold, with it; it has others by itself."""
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: p.default for p in parameters if _is_text(p.default)}


def _is_text(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_text, value))
    return value is None or isinstance(value, bool | int | float | str)


def _find(
    what: str, name: str, known: Mapping[str, Callable[..., Any]], arguments: tuple[str, ...] = ()
) -> Callable[..., Any]:
    if is_own(name):
        return users.find(what, name, arguments)
    if name.endswith(".py"):
        raise ValueError(f"{what} is {name!r}; it must be {name}:FUNCTION, a function of the file.")
    if name not in known:
        raise ValueError(hyper.unknown(what, name, known))
    return known[name]
