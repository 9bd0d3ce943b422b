"""A finished run, as a page reports it.

Dimensions: S seeds, T tasks, E evaluations inside a task.
"""

import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np


class Run(NamedTuple):
    """A finished run.

    Attributes:
        folder: Its work directory.
        label: What the page calls it, unlike all others.
        description: As config.json.
        summary: As summary.json.
        results: As results.npz.
        rates: As `diagnostics.read_rates`.
        dynamics: As `dynamics.read`.
    """

    folder: pathlib.Path
    label: str
    description: dict[str, Any]
    summary: dict[str, Any]
    results: dict[str, np.ndarray]
    rates: dict[str, np.ndarray]
    dynamics: Mapping[str, np.ndarray] = MappingProxyType({})

    @property
    def settings(self) -> dict[str, Any]:
        """Its configuration."""
        return self.description["settings"]

    @property
    def split(self) -> str:
        """What its accuracies are on: "test" or "validation" data."""
        return self.settings["stream"].get("eval_split", "test")

    @property
    def accuracy(self) -> np.ndarray:
        """Fractions `[S, T + 1, T]` of the seeds that did not diverge; S may be 0."""
        return self.results["accuracy"][~self.results["diverged"]]

    @property
    def inside(self) -> np.ndarray | None:
        """Fractions `[S, T, E, T]` of the same seeds inside tasks, where they were evaluated there."""
        if self.progress is None:
            return None
        return self.results["inside_accuracy"][~self.results["diverged"]]

    @property
    def progress(self) -> np.ndarray | None:
        """The share of each task's training behind each of these evaluations `[T, E]`; see `recording`."""
        return self.results.get("inside_progress")
