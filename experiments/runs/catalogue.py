"""What names on a command line stand for: this package's benchmarks, learners and networks, or those of a user's file.

A file's is named as FILE.py:FUNCTION; nothing is registered.
"""

import functools
import hashlib
import importlib.util
import inspect
import pathlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

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


DATASETS = {
    "mnist": Images(10, networks.mlp, 1000, 60_000),
    "fashion_mnist": Images(10, networks.mlp, 1000, 60_000),
    "cifar100": Images(100, networks.convnet, 250, 50_000),
    "tiny_imagenet": Images(
        200,
        functools.partial(networks.convnet, filters=(160,) * 4, hidden=(640, 640)),
        125,
        100_000,
    ),
}
NETWORKS: Mapping[str, Callable[..., Model]] = {"mlp": networks.mlp, "convnet": networks.convnet}

_DATASETS_OF = {"split_cifar100": ("cifar100",), "split_tiny_imagenet": ("tiny_imagenet",)}


def is_own(name: str) -> bool:
    """Return whether a name is of a user's file."""
    return ":" in name


def short(name: str) -> str:
    """Return what a table calls it."""
    return name.rpartition(":")[2]


def learner(name: str) -> Callable[..., Any]:
    """Return a learner's factory.

    Raises:
        ValueError: There is none of this name.
    """
    return _find("learner", name, LEARNERS)


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
        return _find("network", name, NETWORKS)
    return networks.mlp if dataset is None else DATASETS[dataset].network


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
    """Return the SHA-256 of the users' files among names, by name."""
    own = [name for name in names if name is not None and is_own(name)]
    return {name: hashlib.sha256(_path(name).read_bytes()).hexdigest() for name in own}


def defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of a factory that have a default, with it."""
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _find(what: str, name: str, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    if not is_own(name):
        if name not in known:
            raise ValueError(hyper.unknown(what, name, known))
        return known[name]
    path, attribute = _path(name), short(name)
    if not path.is_file():
        raise ValueError(f"{what} is {name!r}; there is no file {str(path)!r}.")
    factory = getattr(_imported(path.resolve()), attribute, None)
    if not callable(factory):
        there = [
            n for n, v in vars(_imported(path.resolve())).items() if callable(v) and n[0] != "_"
        ]
        raise ValueError(
            f"{what} is {name!r}; " + hyper.unknown(f"function of {path.name}", attribute, there)
        )
    return factory


def _path(name: str) -> pathlib.Path:
    return pathlib.Path(name.rpartition(":")[0]).expanduser()


@functools.cache
def _imported(path: pathlib.Path) -> types.ModuleType:
    """Return a user's file as a module, imported once."""
    spec = importlib.util.spec_from_file_location(f"of_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{str(path)!r} is not a Python file; its name must end with .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where typing looks for what annotations name
    sys.path.insert(0, str(path.parent))  # for its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module
