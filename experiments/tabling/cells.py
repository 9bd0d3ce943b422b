"""Which runs the paper's tables are of, and in which folders they are.

A cell is what one row of a table is of: a benchmark, a protocol, a learner, and the seeds that are wanted.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments import collect, presets
from experiments.collect import Row
from experiments.runs import catalogue, descriptions, identity, workdirs
from experiments.runs.config import Config
from lamaml_jax import hyper
from lamaml_jax.datasets import ImageDataset

TABLES: Mapping[str, tuple[str, ...]] = {
    "mnist": ("mnist_rotations", "mnist_permutations", "mnist_many_permutations"),
    "cifar100": ("split_cifar100",),
    "tinyimagenet": ("split_tiny_imagenet",),
}
"""The benchmarks of each table."""


class Name(NamedTuple):
    """What a cell is of."""

    benchmark: str
    protocol: str
    learner: str

    def folder(self, root: pathlib.Path) -> pathlib.Path:
        """Return its place in the folder of all tables."""
        return root / label(self)


class Part(NamedTuple):
    """Seeds of a cell that are run beside each other, in a folder of their own."""

    seeds: tuple[int, ...]
    folder: pathlib.Path


class Cell(NamedTuple):
    """A cell with all that determines its results.

    Attributes:
        name: What it is of.
        config: With all seeds that are wanted.
        parts: Its runs, each with its folder.
        differing: What sets its settings and data apart from those of the committed results, its seeds aside.
    """

    name: Name
    config: Config
    parts: tuple[tuple[Config, pathlib.Path], ...]
    differing: tuple[str, ...]

    def label(self) -> str:
        """Return what messages call it."""
        return label(self.name)

    def ahead(self) -> list[tuple[Config, pathlib.Path]]:
        """Return those of its runs that are not finished."""
        return [part for part in self.parts if not workdirs.is_finished(part[1])]

    def row(self, rows: Mapping[collect.Key, Row]) -> Row | None:
        """Return the row of the committed results that is of these settings, however many seeds it has."""
        return None if self.differing else rows.get(collect.key_of(self.config))

    def is_measured(self, rows: Mapping[collect.Key, Row]) -> bool:
        """Return whether the committed results have all its seeds."""
        row = self.row(rows)
        return row is not None and set(self.config.seeds) <= set(range(int(row["num_seeds"])))


def label(name: Name) -> str:
    """Return what folders and messages call a cell."""
    return "_".join(map(catalogue.short, name))


def benchmarks(table: str | None) -> tuple[str, ...]:
    """Return the benchmarks of a table.

    Raises:
        ValueError: There is none of this name.
    """
    if table is None:
        raise ValueError(f"table is not given; it must be one of {', '.join(TABLES)}.")
    if table not in TABLES:
        raise ValueError(hyper.unknown("table", table, TABLES))
    return TABLES[table]


def names(
    table: str | None,
    benchmark: str | None = None,
    protocol: str | None = None,
    learners: Sequence[str] | None = None,
) -> tuple[list[Name], list[Name]]:
    """Return what the cells of a table are of, in the paper's order, and those that have no preset.

    Args:
        table: Its name.
        benchmark: The only one, or None for all of the table.
        protocol: The only one, or None for all that the paper has.
        learners: Those wanted, `all` for all that there are; None stands for the paper's.

    Raises:
        ValueError: There is no such table, benchmark, protocol or learner, or no preset at all.
    """
    of_table = benchmarks(table)
    if benchmark is not None and benchmark not in of_table:
        raise ValueError(hyper.unknown(f"benchmark of the table {table}", benchmark, of_table))
    paper = presets.read_table(presets.PAPER_RESULTS)
    rows = [row for row in paper if row["benchmark"] in of_table]
    protocols = sorted({row["protocol"] for row in rows}, reverse=True)  # single pass first
    if protocol is not None and protocol not in protocols:
        raise ValueError(
            f"protocol is {protocol!r}; the table {table} is of the {' and '.join(protocols)} pass."
        )
    wanted = {
        (b, p): _learners(b, p, rows, learners)
        for p in protocols
        if protocol in (None, p)
        for b in of_table
        if benchmark in (None, b)
    }
    found = [Name(b, p, learner) for (b, p), known in wanted.items() for learner in known]
    without = [name for name in found if not _has_preset(name)]
    if len(without) == len(found):
        presets.require(without[0].benchmark, without[0].learner, without[0].protocol)  # type: ignore[arg-type]
    return [name for name in found if name not in without], without


def divide(folder: pathlib.Path, seeds: tuple[int, ...]) -> list[Part]:
    """Return a cell's runs: those begun in its folder and beside it, and one of all seeds that are in none of these.

    A seed's results do not depend on the seeds beside it, so more seeds go on from fewer.
    """
    beside = folder.parent.glob(f"{folder.name}_seeds_*_to_*")
    begun = {path: _seeds_in(path) for path in (folder, *beside)}
    parts: list[Part] = []
    rest = seeds
    while rest:
        for path, there in begun.items():
            if there and there[0] == rest[0] and (there[: len(rest)] == rest[: len(there)]):
                parts.append(Part(there, path))
                rest = rest[len(there) :]
                break
        else:
            free = folder if not parts else _beside(folder, rest)
            return [*parts, Part(rest, free)]
    return parts


def num_runs(parts: Sequence[Part]) -> int:
    """Return how many seeds at most are run beside each other, by which devices are made; 0 where all is finished.

    Runs that are begun go on with one device or with several, as they were begun: with one as long as there are such.
    """
    ahead = [part for part in parts if not workdirs.is_finished(part.folder)]
    begun = [found[0] for part in ahead if (found := descriptions.whole(part.folder))]
    if any(identity.has_one_device(of) for of in begun):
        return 1
    return max([len(part.seeds) for part in ahead] + [2 for _ in begun], default=0)


def make(name: Name, config: Config, root: pathlib.Path, dataset: ImageDataset | None) -> Cell:
    """Return a cell.

    Args:
        name: What it is of.
        config: With all seeds that are wanted.
        root: The folder of all tables.
        dataset: The images; None stands for the whole dataset.
    """
    data = str(config.dataset) if dataset is None else config.name_of(dataset)
    parts = tuple(
        (_as_begun(dataclasses.replace(config, seeds=part.seeds), part.folder), part.folder)
        for part in divide(name.folder(root), config.seeds)
    )
    differing = [what for what in collect.differences(config, data) if what != "seeds"]
    return Cell(name, config, parts, tuple(differing))


def obstacles(cell: Cell) -> list[str]:
    """Name what keeps the committed results from taking a cell's runs."""
    seeds = tuple(seed for config, _ in cell.parts for seed in config.seeds)
    whole = dataclasses.replace(cell.config, seeds=seeds)
    return list(cell.differing) or collect.differences(whole, str(whole.dataset))


def _learners(
    benchmark: str,
    protocol: str,
    rows: Sequence[Mapping[str, str]],
    wanted: Sequence[str] | None,
) -> Sequence[str]:
    of_paper = [
        row["learner"]
        for row in rows
        if (row["benchmark"], row["protocol"]) == (benchmark, protocol)
    ]
    if wanted is None:
        return of_paper
    known = presets.names(benchmark, protocol)  # type: ignore[arg-type]
    wanted = catalogue.with_all(wanted, dict.fromkeys([*of_paper, *known]))
    for learner in wanted:
        catalogue.learner(learner)
    return wanted


def _has_preset(name: Name) -> bool:
    known = presets.names(name.benchmark, name.protocol)  # type: ignore[arg-type]
    return catalogue.is_own(name.learner) or name.learner in known


def _seeds_in(folder: pathlib.Path) -> tuple[int, ...]:
    """Return the seeds of the run in a folder, or none where there is none."""
    found = descriptions.whole(folder)
    seeds = found[0]["settings"].get("seeds") if found else None
    return tuple(seeds) if isinstance(seeds, list) else ()


def _beside(folder: pathlib.Path, seeds: Sequence[int]) -> pathlib.Path:
    return folder.with_name(f"{folder.name}_seeds_{seeds[0]}_to_{seeds[-1]}")


def _as_begun(config: Config, folder: pathlib.Path) -> Config:
    """Return a run's configuration with the evaluation that it was begun with, which changes none of its numbers."""
    found = descriptions.whole(folder)
    settings: Mapping[str, Any] = found[0]["settings"] if found else {}
    kept = {name: settings[name] for name in ("eval", "eval_every") if name in settings}
    return dataclasses.replace(config, **kept)
