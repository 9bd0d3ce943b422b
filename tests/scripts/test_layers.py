"""The layers of the scripts' networks, set by --set."""

from typing import Any

import pytest

from experiments.runs.config import Config
from experiments.runs.making import make_config


def config(benchmark: str, *assignments: str, network: str | None = None) -> Config:
    common: dict[str, Any] = {"learner": "er", "seeds": (0,), "stream": {}, "network": {}}
    return make_config(
        benchmark=benchmark, assignments=list(assignments), architecture=network, **common
    )


@pytest.mark.parametrize(
    ("benchmark", "network", "assignments", "layers"),
    [
        ("mnist_rotations", None, (), {"hidden": [100, 100]}),
        ("mnist_rotations", None, ("hidden=200,50",), {"hidden": [200, 50]}),
        ("mnist_rotations", "mlp", ("hidden=64",), {"hidden": [64]}),
        ("split_cifar100", None, (), {"filters": [160] * 3, "hidden": [320, 320]}),
        ("split_cifar100", "convnet", ("filters=8x8",), {"filters": [8, 8], "hidden": [320, 320]}),
        ("split_tiny_imagenet", None, ("hidden=32",), {"filters": [160] * 4, "hidden": [32]}),
    ],
)
def test_layers_are_the_papers_or_as_set(
    benchmark: str, network: str | None, assignments: tuple[str, ...], layers: dict[str, list[int]]
) -> None:
    found = config(benchmark, *assignments, network=network)
    source = found.model(10).source
    assert source is not None
    for name, sizes in layers.items():
        assert list(found.network[name]) == source[name] == sizes


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("hidden=wide", "hidden is 'wide'; it must be integers, as in hidden=200,200"),
        ("hidden=8,0", r"hidden\[1\] is 0; it must be an integer >= 1"),
        ("filters=8", "'filters' is not a setting of er on mnist_rotations"),
        ("hiden=8", "'hiden' is not a setting .*; did you mean hidden"),
    ],
)
def test_layers_that_cannot_be_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config("mnist_rotations", assignment)
