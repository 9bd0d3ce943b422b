"""The published settings, for every learner on every benchmark, or what validation chose where none is published.

`python -m experiments.presets` prints each preset with its command, run time and result, as measured. Several results
differ from the paper's: docs/results.md says which.
"""

import csv
import pathlib
from typing import Any

from experiments.presets.mnist import MNIST
from experiments.presets.preset import Preset, Protocol, Semantics
from experiments.presets.split import SPLIT

MEASURED_RESULTS = pathlib.Path(__file__).parent / "measured_results.csv"
"""What the presets give, as `experiments.collect` gathered it from finished runs."""

FURTHER_RESULTS = pathlib.Path(__file__).parent / "further_results.csv"
"""What other settings and parts of the streams gave; `what` says which results belong together."""

PAPER_RESULTS = pathlib.Path(__file__).parent / "paper_results.csv"
"""What the paper reports."""

BATCH_SIZE = 10
"""How many examples arrive at once, unless a preset says otherwise."""

EPOCHS: dict[Protocol, int] = {"single": 1, "multi": 10}
"""How often each task is gone over, unless a preset says otherwise."""

PRESETS: dict[str, dict[str, Preset]] = MNIST | SPLIT
"""By benchmark and learner."""


def read_table(path: pathlib.Path) -> list[dict[str, str]]:
    """Return the rows of a file of results, such as those above, by the names of its columns."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def keywords(
    benchmark: str, learner: str, semantics: Semantics, protocol: Protocol
) -> dict[str, Any]:
    """Return the learner's keywords; in the multi-pass protocol every batch gets one glance per epoch."""
    preset = _preset(benchmark, learner)
    values = dict(preset.keywords)
    if semantics == "paper":
        values |= preset.paper
    if protocol == "multi":
        values |= {"glances": 1} if "glances" in values else {}
        values |= preset.multi or {}
    return values


def stream(benchmark: str, learner: str, protocol: Protocol) -> dict[str, Any]:
    """Return what protocol and preset set of the benchmark's factory."""
    preset = _preset(benchmark, learner)
    usual = {"batch_size": BATCH_SIZE, "epochs": EPOCHS[protocol]}
    return {**usual, **preset.stream, **(preset.multi_stream if protocol == "multi" else {})}


def network(benchmark: str, learner: str) -> dict[str, Any]:
    """Return what the preset sets of the network."""
    return dict(_preset(benchmark, learner).network)


def names(benchmark: str, protocol: Protocol) -> list[str]:
    """Return the learners that have a preset."""
    presets = PRESETS.get(benchmark, {})
    return [n for n, p in presets.items() if protocol == "single" or p.multi is not None]


def require(benchmark: str, learner: str, protocol: Protocol) -> None:
    """Check that there is a preset.

    Raises:
        ValueError: There is none of this learner on this benchmark in this protocol.
    """
    known = names(benchmark, protocol)
    if learner not in known:
        raise ValueError(
            f"learner is {learner!r}; on {benchmark} ({protocol} pass) there are presets for {', '.join(known)}."
        )


def _preset(benchmark: str, learner: str) -> Preset:
    """Return the preset, or an empty one of a learner whose settings are still to be chosen."""
    return PRESETS.get(benchmark, {}).get(learner, Preset({}))
