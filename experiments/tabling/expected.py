"""How long the runs of a cell are expected to take: as measured before, or by a probe of the program."""

import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax

from experiments import collect
from experiments.collect import Row
from experiments.presets.preset import Protocol
from experiments.process import backend
from experiments.runs import dry_run, workdirs
from experiments.runs.config import Config
from experiments.runs.making import make_config
from experiments.tabling.cells import Cell
from lamaml_jax import checkpoint
from lamaml_jax.datasets import ImageDataset

_PROTOCOLS: tuple[Protocol, ...] = ("single", "multi")


class Expected(NamedTuple):
    """What is known of the time that the rest of a cell takes.

    Attributes:
        minutes: Of all runs that are not finished; None where that is not known.
        source: How it is known, or why not.
    """

    minutes: float | None
    source: str

    def in_words(self) -> str:
        """Return the time as it is printed."""
        if self.minutes is None:
            return "not known"
        hours = f" ({self.minutes / 60:.1f} hours)" if self.minutes >= 120 else ""
        return f"about {self.minutes:.1f} minutes{hours}"

    def fits(self, spent: float, minutes: float | None) -> bool:
        """Return whether it ends in time.

        Args:
            spent: Minutes before it begins.
            minutes: All that there are; None for any number.
        """
        if minutes is None:
            return True
        return self.minutes is not None and spent + self.minutes <= minutes


def cheapest_first(ahead: Sequence[tuple[Cell, Expected]]) -> list[tuple[Cell, Expected]]:
    """Return cells by the minutes that they take, those last of which that is not known."""
    return sorted(ahead, key=lambda of: math.inf if of[1].minutes is None else of[1].minutes)


def expect(
    cells: Sequence[Cell], rows: Mapping[collect.Key, Row], dataset: ImageDataset | None
) -> list[Expected]:
    """Return what is expected of each cell.

    The committed minutes are those of two CPU cores; on other devices, and where there are none of the learner on the
    benchmark, its program is probed. What is known of one protocol holds for the other, update by update.

    Args:
        cells: Those that are not finished.
        rows: Of the committed results.
        dataset: The images; None probes nothing.
    """
    on_cpu = jax.default_backend() == "cpu"
    measured = [_measured(cell, rows, dataset) if on_cpu else None for cell in cells]
    probed = {cell.name.learner for cell, of in zip(cells, measured, strict=True) if of is None}
    paces: dict[tuple[str, str], dry_run.Pace | str] = {}
    found = []
    for cell, known in zip(cells, measured, strict=True):
        if known is None and dataset is None:
            known = Expected(None, "pass --data_dir to have it probed")
        if known is None:
            key = cell.name.benchmark, cell.name.learner
            if key not in paces:
                paces[key] = _probe(cell, dataset, dry_run.PROBE_SECONDS / len(probed))
            known = _at_pace(cell, dataset, paces[key])
        found.append(known)
    return found


def _measured(
    cell: Cell, rows: Mapping[collect.Key, Row], dataset: ImageDataset | None
) -> Expected | None:
    """Return what a row of this learner on this benchmark says, that of the other protocol if need be."""
    if cell.differing:
        return None
    config = cell.config
    key = collect.key_of(config)
    for protocol in (config.protocol, *(p for p in _PROTOCOLS if p != config.protocol)):
        row = rows.get((key[0], protocol, *key[2:]))
        if not row or not row["minutes"]:
            continue
        other = make_config(
            benchmark=config.benchmark,
            learner=config.learner,
            protocol=protocol,
            assignments=[],
            seeds=config.seeds,
            stream={"heads": config.stream.get("heads")},
            network={},
        )
        per_seed = float(row["minutes"]) / int(row["num_seeds"])
        per_seed *= _updates_per_image(config) / _updates_per_image(other)
        shares = (len(of.seeds) * _share_left(of, folder, dataset) for of, folder in cell.ahead())
        minutes = per_seed * sum(shares)
        scaled = "" if protocol == config.protocol else f" in the {protocol} pass"
        return Expected(minutes, f"measured{scaled}")
    return None


def _probe(cell: Cell, dataset: ImageDataset | None, seconds: float) -> dry_run.Pace | str:
    """Return the pace of a cell's program, or why it has none."""
    config, folder = cell.ahead()[0]
    print(f"probing {cell.name.learner} on {cell.name.benchmark} ...", file=sys.stderr)
    try:
        work = dry_run.left(config, dataset, workdirs.place(folder))
        return dry_run.probe(config, work.plan, seconds)
    except Exception as error:  # of whatever kind, it is the run's own to report
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    finally:
        backend.free_programs()


def _at_pace(cell: Cell, dataset: ImageDataset | None, pace: dry_run.Pace | str) -> Expected:
    if isinstance(pace, str):
        return Expected(None, f"no probe: {pace}")
    works = [
        (config, dry_run.left(config, dataset, workdirs.place(folder)))
        for config, folder in cell.ahead()
    ]
    return Expected(sum(dry_run.seconds(*of, pace) for of in works) / 60, "probe")


def _updates_per_image(config: Config) -> float:
    return config.updates_per_batch() * config.stream["epochs"] / config.batch_size()


def _share_left(config: Config, folder: pathlib.Path, dataset: ImageDataset | None) -> float:
    """Return how much of a run is ahead; without the images, which tell a task's length, in whole tasks."""
    place = workdirs.place(folder)
    if dataset is None or place == checkpoint.Place(0):
        return 1 - place.stage / config.stream["num_tasks"]
    whole = dry_run.left(config, dataset, checkpoint.Place(0))
    return dry_run.left(config, dataset, place).updates / whole.updates
