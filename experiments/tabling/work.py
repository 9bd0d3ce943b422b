"""Run what is missing of a table, the cheapest first, and collect what is finished."""

import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments import collect
from experiments.cluster import driver
from experiments.collect import Row
from experiments.process import backend, options
from experiments.runs import descriptions, finished, identity, runner, workdirs
from experiments.runs.config import Config
from experiments.tabling.cells import Cell, make, obstacles
from experiments.tabling.expected import Expected
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.training import Interrupted


class Outcome(NamedTuple):
    """What came of cells, by their label.

    Attributes:
        failed: Why runs failed.
        uncollected: Why finished runs of presets could not be collected.
        not_begun: What is expected of those for which there was no time.
    """

    failed: dict[str, str]
    uncollected: dict[str, str]
    not_begun: dict[str, Expected]


def perform(
    ahead: Sequence[tuple[Cell, Expected]],
    root: pathlib.Path,
    dataset: ImageDataset | None,
    minutes: float | None,
) -> Outcome:
    """Run cells one after the other, and collect them; one that fails does not keep the others from running.

    Args:
        ahead: In order, each with what is expected of it.
        root: The folder of all tables.
        dataset: The images of all.
        minutes: No cell is begun that is expected to end later than so many minutes from now.

    Raises:
        Interrupted: A signal asked to stop; the state is kept.
    """
    start, outcome = time.monotonic(), Outcome({}, {}, {})
    for number, (cell, expected) in enumerate(ahead, 1):
        if not expected.fits((time.monotonic() - start) / 60, minutes):
            outcome.not_begun[cell.label()] = expected
            continue
        takes = "" if expected.minutes is None else f", {expected.in_words()}"
        print(f"[{number} of {len(ahead)}] {cell.label()}{takes}", file=sys.stderr)
        try:
            # Another process may meanwhile have run some of its seeds.
            cell = make(cell.name, cell.config, root, dataset)
            _run(cell, dataset)
        except Interrupted:
            raise
        except Exception as error:  # whatever befell it, the next may run
            outcome.failed[cell.label()] = reason(error)
            print(f"failed: {cell.label()}: {reason(error)}", file=sys.stderr)
        else:
            outcome.uncollected.update(gather([cell], {}, again=True))
        finally:
            backend.free_programs()
    return outcome


def refusal(cell: Cell, dataset: ImageDataset | None) -> str:
    """Return why a cell's folders cannot be its, or nothing; without the images only settings are compared."""
    try:
        for config, folder in cell.parts:
            if dataset is not None:
                workdirs.check(folder, config, dataset)
            elif differing := _differing(config, folder):
                raise ValueError(
                    f"workdir is {str(folder)!r}, which holds a run that differs in {', '.join(differing)}."
                )
        if not cell.ahead():
            finished.joined([folder for _, folder in cell.parts])  # whose files may be damaged
    except ValueError as error:
        return str(error)
    return ""


def gather(
    cells: Sequence[Cell], rows: Mapping[collect.Key, Row], *, again: bool
) -> dict[str, str]:
    """Put finished cells that the committed results lack into these, and return why some could not be, by label.

    Args:
        cells: Finished or not.
        rows: Of the committed results.
        again: Put in those as well that they have.
    """
    failed = {}
    for cell in cells:
        if cell.ahead() or obstacles(cell) or (cell.is_measured(rows) and not again):
            continue
        try:
            collect.add(collect.read([folder for _, folder in cell.parts]))
        except (ValueError, OSError) as error:
            failed[cell.label()] = reason(error)
    return failed


def reason(error: Exception) -> str:
    """Return the first line of what an exception says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _differing(config: Config, folder: pathlib.Path) -> list[str]:
    """Name the settings in which a folder's run, if it holds one, differs from another."""
    wanted = identity.settings(config)
    found = descriptions.whole(folder)[:1]
    return [
        f"{name} ({was}, now {now})"
        for one in found
        for name, was, now in identity.differing(one["settings"], wanted)
    ]


def _run(cell: Cell, dataset: ImageDataset | None) -> None:
    for config, folder in cell.ahead():
        with workdirs.reserve([(config, folder)], dataset):
            driver.compute([(config, folder)], dataset)
            runner.run(config, dataset, folder, checkpoint_minutes=options.CHECKPOINT_MINUTES.value)
            runner.draw(config, folder)
