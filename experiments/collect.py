"""Gather finished runs into measured_results.csv, and print them as a table.

    python -m experiments.collect RUN [RUN ...]
    python -m experiments.docs

The second command writes the documentation's tables from it.
RUN is the work directory of a run with a preset's settings: the full dataset, its own number of tasks, test data; seeds
0 to 4 on MNIST, any number from 0 on elsewhere. Runs that differ in nothing but their seeds count as one. No row is
replaced by one of fewer seeds. Minutes are those of CPU cores; a run on an accelerator leaves them as they are, and has
none with more seeds.
"""

import argparse
import csv
import dataclasses
import io
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/collect.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from experiments import presets
from experiments.process import console
from experiments.reporting.summary import comparison_table, seeds_in_words
from experiments.runs import catalogue, finished, workdirs
from experiments.runs.config import Config
from experiments.runs.making import make_config
from lamaml_jax.files import write_whole

_KEYS = ("benchmark", "protocol", "heads", "learner")
_VALUES = ("ra_mean", "ra_std", "la_mean", "la_std", "bti_mean", "bti_std")
_COLUMNS = (*_KEYS, "num_seeds", "diverged_seeds", *_VALUES, "minutes")

Key: TypeAlias = tuple[str, ...]
Row: TypeAlias = Mapping[str, Any]


def main(arguments: list[str]) -> None:
    """Read the runs, put their rows in the place of older ones, and print a table.

    Raises:
        ValueError: As `read` and `add`.
    """
    parser = argparse.ArgumentParser(
        "experiments.collect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("RUN", nargs="+", help="work directory of a finished run")
    folders = parser.parse_args(arguments).RUN
    summaries = read([console.path("RUN", folder) for folder in folders])
    add(summaries)
    print(comparison_table(summaries))


def read(folders: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """Return the summaries of finished runs of presets, one for all that differ only in their seeds.

    Raises:
        ValueError: A folder holds no finished run, or none that can be collected; what differs.
    """
    alike: dict[Key, list[pathlib.Path]] = {}
    for folder in folders:
        if not workdirs.is_finished(folder):
            raise ValueError(f"{folder} holds no finished run.")
        alike.setdefault(key_of(finished.read(folder)), []).append(folder)
    return [_of_row(of_row) for of_row in alike.values()]


def add(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Put the rows of runs that `read` returned in the place of older ones.

    Raises:
        ValueError: An older one is of more seeds; nothing is written then.
    """
    rows = read_rows()
    for summary in summaries:
        key = tuple(summary[name] for name in _KEYS)
        there = int(rows[key]["num_seeds"]) if key in rows else 0
        if summary["num_seeds"] < there:
            benchmark, protocol, _, learner = key
            raise ValueError(
                f"{learner} on {benchmark} ({protocol} pass) was run with {seeds_in_words(summary['num_seeds'])}, and "
                f"{presets.MEASURED_RESULTS.name} has {there}; remove its row by hand for fewer to take its place."
            )
        row = _row(summary)
        if not row["minutes"] and summary["num_seeds"] == there:
            row["minutes"] = rows[key]["minutes"]
        rows[key] = row
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[key] for key in sorted(rows))
    with write_whole(presets.MEASURED_RESULTS) as file:
        file.write(text.getvalue().encode())


def read_rows() -> dict[Key, Row]:
    """Return the rows of measured_results.csv by `key_of` their configuration."""
    rows = presets.read_table(presets.MEASURED_RESULTS)
    return {tuple(row[name] for name in _KEYS): row for row in rows}


def key_of(config: Config) -> Key:
    """Return what tells rows of measured_results.csv apart."""
    return config.benchmark, config.protocol, _heads(config), config.learner


def differences(config: Config, data: str) -> list[str]:
    """Name what a run differs in from one that can be collected.

    Args:
        config: Of the run.
        data: What `Config.name_of` calls its data.
    """
    num_seeds = 5 if config.benchmark.startswith("mnist") else len(config.seeds)
    names = {"benchmark": config.benchmark, "learner": config.learner}
    names["network"] = config.architecture or ""
    if own := [what for what, name in names.items() if catalogue.is_own(name)]:
        return own
    preset = make_config(
        benchmark=config.benchmark,
        learner=config.learner,
        protocol=config.protocol,
        assignments=[],
        seeds=tuple(range(num_seeds)),
        stream={"heads": config.stream.get("heads")},
        network={},
    )
    expected, found = (json.loads(json.dumps(dataclasses.asdict(c))) for c in (preset, config))
    differing = [
        name
        for part in ("stream", "network", "keywords")
        for name in {**expected[part], **found[part]}
        if found[part].get(name) != expected[part].get(name)
    ]
    runs = ("semantics", "seeds", "stream_seed", "points")
    differing += [name for name in runs if found[name] != expected[name]]
    return [*differing, "data"] if data != preset.dataset else differing


def _of_row(folders: Sequence[pathlib.Path]) -> dict[str, Any]:
    """Return the summary of runs that are of one row."""
    config, summary = finished.joined(folders)
    if differing := differences(config, summary["data"]):
        names = " with ".join(map(str, folders))
        raise ValueError(
            f"{names} is not a run of the preset; it differs in {', '.join(differing)}."
        )
    return {**summary, "heads": _heads(config), "on_cpu": all(map(_is_of_cpu, folders))}


def _is_of_cpu(folder: pathlib.Path) -> bool:
    """Return whether a run's device was no accelerator, as far as is known."""
    return "cpu" in str(workdirs.read_description(folder).get("device", "cpu"))


def _heads(config: Config) -> str:
    return config.stream.get("heads", "per_task")


def _row(summary: Mapping[str, Any]) -> dict[str, Any]:
    seconds = sum(summary[f"{part}_seconds"] for part in ("compile", "train", "eval"))
    numbers = {name: summary[name] for name in _VALUES}
    rounded = {name: "" if value is None else f"{value:.2f}" for name, value in numbers.items()}
    keys = {key: summary[key] for key in (*_KEYS, "num_seeds")}
    diverged = " ".join(map(str, summary["diverged_seeds"]))
    # What others are expected to take is told from the minutes of CPU cores.
    minutes = f"{seconds / 60:.1f}" if summary["on_cpu"] else ""
    return {**keys, "diverged_seeds": diverged, **rounded, "minutes": minutes}


if __name__ == "__main__":
    console.prepare()
    with console.plain_errors():
        main(sys.argv[1:])
