"""Runs that a page shows."""

import pathlib

import pytest
from running import run_train

from experiments.reporting.page import reading

TINY = ("--packaged_mnist", "--smoke", "--samples_per_task=20", "--diagnostics")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Runs of a learner with learnt rates and of one without."""
    root = tmp_path_factory.mktemp("runs")
    run_train("--learner=la_er,online", *TINY, f"--workdir={root}")
    return root


@pytest.fixture(scope="session")
def runs(root: pathlib.Path) -> list[reading.Run]:
    return reading.read(reading.find([root])).runs
