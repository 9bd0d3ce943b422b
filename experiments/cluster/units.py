"""Divide a run into units: some of its seeds and points, in one compiled program, with a work directory of their own.

Dimensions: S seeds, P points, R = P S runs.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.runs import descriptions, identity, workdirs
from experiments.runs.config import Config
from lamaml_jax.checkpoint import Place
from lamaml_jax.datasets import ImageDataset

FOLDER = workdirs.CLUSTER
"""Holds a run's units in its work directory, until they are merged."""

DIVISION = "division.json"
"""Says, in that folder, how a run is divided."""


class Unit(NamedTuple):
    """Some of a run's seeds and points.

    Attributes:
        config: With these alone.
        folder: The work directory.
        num_runs: R, of the whole run.
        stages: How many tasks are learnt one after the other.
    """

    config: Config
    folder: pathlib.Path
    num_runs: int
    stages: int

    def place(self) -> Place:
        """Return how far the files say it is; one that ended early, as its runs diverged, is at the end."""
        if workdirs.is_finished(self.folder):
            return Place(self.stages)
        return workdirs.place(self.folder)


def divide(config: Config, folder: pathlib.Path, unit_runs: int, stages: int) -> list[Unit]:
    """Return the units of a run.

    Args:
        config: Of the run.
        folder: Its work directory.
        unit_runs: How many of its runs a unit may have.
        stages: How many tasks are learnt one after the other.

    Returns:
        The units, point by point and within a point seed by seed, of about the same size.
    """
    seeds, points = config.seeds, config.points
    parts_of_seeds = _even(len(seeds), unit_runs)
    parts_of_points = _even(len(points), max(1, unit_runs // len(seeds)))
    parts = [
        dataclasses.replace(config, seeds=seeds[s], points=points[p])
        for p in parts_of_points
        for s in parts_of_seeds
    ]
    return [
        Unit(part, folder / FOLDER / f"{i:04d}", len(seeds) * len(points), stages)
        for i, part in enumerate(parts)
    ]


def read_division(folder: pathlib.Path) -> int | None:
    """Return how many runs the units of a run have that was begun, or None of one that was not.

    Raises:
        ValueError: The file that says so is damaged.
    """
    path = folder / FOLDER / DIVISION
    if not path.exists():
        return None
    try:
        return int(json.loads(path.read_bytes())["unit_runs"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged; remove {path.parent} to begin anew.") from None


def write_division(folder: pathlib.Path, unit_runs: int) -> None:
    """Write down how many runs a unit has, as other ones could not go on."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    workdirs.write_json(folder / FOLDER / DIVISION, {"unit_runs": unit_runs})


def check_finished(parts: Sequence[Unit], config: Config, dataset: ImageDataset | None) -> None:
    """Check that the finished units are parts of the run asked for; the others are checked where they are computed.

    Args:
        parts: All units of the run.
        config: Of the run.
        dataset: The images.

    Raises:
        ValueError: One is of other settings, seeds, data or files; which.
    """
    if finished := [part for part in parts if workdirs.is_finished(part.folder)]:
        whole = identity.describe(config, dataset)  # once, as it reads all data
        for part in finished:
            wanted = whole | {"settings": identity.settings(part.config)}
            workdirs.check_described(part.folder, wanted)


def check_alike(folder: pathlib.Path, description: Mapping[str, Any]) -> None:
    """Check that a unit is computed as the other units of its run are that have begun.

    Args:
        folder: The unit's.
        description: What its config.json is to say.

    Raises:
        ValueError: Versions, what changes numbers, or kinds of devices differ; which ones.
    """
    wanted = _surroundings(description)
    for other in folders(folder.parents[1]):
        found = descriptions.read(other / descriptions.NAMES[0])
        if found is None or other == folder:
            continue
        if differing := list(identity.differing(_surroundings(found), wanted)):
            names = ", ".join(f"{name} ({there}, here {here})" for name, there, here in differing)
            raise ValueError(
                f"unit {folder} cannot go with {other}, which was computed with other {names}; compute all units of a "
                "run alike, or begin anew in a new folder."
            )


def folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the work directories of all units that are there."""
    return sorted(path for path in (folder / FOLDER).glob("[0-9]*") if path.is_dir())


def remove(folder: pathlib.Path) -> None:
    """Remove what is left of the division once the units' files are removed; folders with other files stay."""
    (folder / FOLDER / DIVISION).unlink(missing_ok=True)
    for path in (*folders(folder), folder / FOLDER):
        with contextlib.suppress(OSError):
            path.rmdir()


def _even(number: int, most: int) -> list[slice]:
    """Return parts of about the same size, each of at most so many."""
    parts = math.ceil(number / most)
    bounds = [i * number // parts for i in range(parts + 1)]
    return [slice(*pair) for pair in zip(bounds, bounds[1:], strict=False)]


def _surroundings(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what changes the bits of all units; how many devices one has may change."""
    found = {name: description.get(name, {}) for name in ("numerics", "versions", "flags")}
    return {**found, "device": str(description.get("device")).rpartition(" x ")[2]}
