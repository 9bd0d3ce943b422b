"""Run what is missing of a table, the cheapest first, and collect what is finished."""

import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence

from experiments import collect
from experiments.cluster import driver
from experiments.collect import Row
from experiments.process import backend, options
from experiments.runs import descriptions, identity, runner, workdirs
from experiments.runs.config import Config
from experiments.tabling.cells import Cell, obstacles
from experiments.tabling.expected import Expected
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.training import Interrupted


def perform(
    ahead: Sequence[tuple[Cell, Expected]], dataset: ImageDataset | None, minutes: float | None
) -> tuple[dict[str, str], list[tuple[Cell, Expected]]]:
    """Run cells one after the other; one that fails does not keep the others from running.

    Args:
        ahead: In order, each with what is expected of it.
        dataset: The images of all.
        minutes: No cell is begun that is expected to end later than so many minutes from now.

    Returns:
        Why cells failed, by their label, and those that were not begun, with what is expected of them.

    Raises:
        Interrupted: A signal asked to stop; the state is kept.
    """
    start, failed, not_begun = time.monotonic(), dict[str, str](), list[tuple[Cell, Expected]]()
    for number, (cell, expected) in enumerate(ahead, 1):
        spent = (time.monotonic() - start) / 60
        if not expected.fits(spent, minutes):
            not_begun.append((cell, expected))
            continue
        takes = "" if expected.minutes is None else f", {expected.in_words()} minutes"
        print(f"[{number} of {len(ahead)}] {cell.label()}{takes}", file=sys.stderr)
        try:
            _run(cell, dataset)
        except Interrupted:
            raise
        except Exception as error:  # whatever befell it, the next may run
            failed[cell.label()] = reason(error)
            print(f"failed: {cell.label()}: {reason(error)}", file=sys.stderr)
        finally:
            backend.free_programs()
    return failed, not_begun


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
    except ValueError as error:
        return str(error)
    return ""


def gather(cells: Sequence[Cell], rows: Mapping[collect.Key, Row], *, again: bool) -> None:
    """Put finished cells that the committed results lack into these.

    Args:
        cells: Finished or not.
        rows: Of the committed results.
        again: Put in those as well that they have.
    """
    for cell in cells:
        if not cell.ahead() and not obstacles(cell) and (again or not cell.is_measured(rows)):
            _collect(cell)


def reason(error: Exception) -> str:
    """Return the first line of what an exception says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _differing(config: Config, folder: pathlib.Path) -> list[str]:
    """Name the settings in which a folder's run, if it holds one, differs from another."""
    wanted = json.loads(json.dumps(dataclasses.asdict(config)))
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
    if not obstacles(cell):
        _collect(cell)


def _collect(cell: Cell) -> None:
    folders: list[pathlib.Path] = [folder for _, folder in cell.parts]
    collect.add(collect.read(folders))
