"""A finished run's configuration, from its work directory, a process like the run's, and runs that are parts of one."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments.process import backend, console, options
from experiments.reporting.summary import summarise
from experiments.runs import workdirs
from experiments.runs.config import Config

_OF_DATA = ("data_dir", "packaged_mnist")


def set_up(argv: Sequence[str]) -> None:
    """Set the process of a script up as that of the run which its argument names was."""
    console.prepare()
    with console.plain_errors():
        of = config(argv)
        backend.configure(of.benchmark, len(of.runs().each()))


def config(argv: Sequence[str]) -> Config:
    """Return the configuration of the finished run that a script's one argument names.

    Raises:
        ValueError: There is another number of arguments, no finished run, or a flag that says how a run is made.
    """
    given = [flag for flag in flags.FLAGS.flags_by_module_dict()[options.__name__] if flag.present]
    for flag in given:
        if flag.name not in _OF_DATA:
            raise ValueError(
                f"{flag.name} is given; a finished run is taken as it was made, and only {' or '.join(_OF_DATA)} says "
                "where its data are."
            )
    if len(argv) != 2:
        raise ValueError(f"{len(argv) - 1} folders are given; it must be one, of a finished run.")
    folder = console.path("run", argv[1])
    if workdirs.read_summary(folder) is None:
        raise ValueError(f"run is {str(folder)!r}, which holds no finished run.")
    return read(folder)


def read(folder: pathlib.Path) -> Config:
    """Return the configuration of the run in a folder.

    Raises:
        ValueError: The folder holds no run.
    """
    settings = workdirs.read_settings(folder)
    tuples = {name: tuple(settings[name]) for name in ("seeds", "points")}
    return Config(**settings | tuples)


def joined(folders: Sequence[pathlib.Path]) -> tuple[Config, dict[str, Any]]:
    """Return configuration and summary of finished runs as of one with the seeds of all.

    Args:
        folders: Of runs that differ in nothing but their seeds, and in what was evaluated.

    Raises:
        ValueError: They differ in something else, or a file is damaged.
    """
    parts = sorted(
        ((read(folder), workdirs.read_summary(folder) or {}, folder) for folder in folders),
        key=lambda part: part[0].seeds,
    )
    config, summary, first = parts[0]
    if len(parts) == 1:
        return config, summary
    for other, of_other, folder in parts[1:]:
        alike = dataclasses.replace(
            other, seeds=config.seeds, eval=config.eval, eval_every=config.eval_every
        )
        if alike != config or of_other["data"] != summary["data"]:
            raise ValueError(
                f"{folder} cannot go with {first}; they differ in more than their seeds."
            )
    whole = dataclasses.replace(config, seeds=tuple(s for of, *_ in parts for s in of.seeds))
    records = [workdirs.read_results(folder) for *_, folder in parts]
    record = {
        name: np.concatenate([of[name] for of in records])
        for name in ("accuracy", "seeds", "diverged")
    }
    clock = {
        name: sum(of[f"{name}_seconds"] for _, of, _ in parts)
        for name in ("compile", "train", "eval")
    }
    found = summarise(whole, summary["data"], record, clock, summary["updates_per_second"])
    return whole, {**summary, **found}
