"""Gather finished runs into measured_results.csv, and print them as a table.

    python -m experiments.collect RUN [RUN ...]
    python -m experiments.docs

The second command writes the documentation's tables from it.
RUN is the work directory of a run with a preset's settings: the full dataset, its own number of tasks, test data; seeds
0 to 4 on MNIST, any number from 0 on elsewhere.
"""

import csv
import dataclasses
import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/collect.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from experiments import presets
from experiments.process import console
from experiments.reporting.summary import comparison_table
from experiments.runs import workdirs
from experiments.runs.making import make_config

_KEYS = ("benchmark", "protocol", "heads", "learner")
_VALUES = ("ra_mean", "ra_std", "la_mean", "la_std", "bti_mean", "bti_std")
_COLUMNS = (*_KEYS, "num_seeds", "diverged_seeds", *_VALUES, "minutes")


def main(folders: list[str]) -> None:
    """Read the runs, put their rows in the place of older ones, and print a table."""
    summaries = [_summary(pathlib.Path(folder)) for folder in folders]
    with presets.MEASURED_RESULTS.open(encoding="utf-8") as file:
        rows = {tuple(row[key] for key in _KEYS): row for row in csv.DictReader(file)}
    for summary in summaries:
        rows[tuple(summary[key] for key in _KEYS)] = _row(summary)
    with presets.MEASURED_RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))
    print(comparison_table(summaries))


def _summary(folder: pathlib.Path) -> dict[str, Any]:
    summary = workdirs.read_summary(folder)
    if summary is None:
        sys.exit(f"error: {folder} holds no finished run.")
    settings = workdirs.read_settings(folder)
    num_seeds = 5 if settings["benchmark"].startswith("mnist") else len(settings["seeds"])
    preset = make_config(
        benchmark=settings["benchmark"],
        learner=settings["learner"],
        protocol=settings["protocol"],
        assignments=[],
        seeds=tuple(range(num_seeds)),
        stream={"heads": settings["stream"].get("heads")},
        network={},
    )
    expected = json.loads(json.dumps(dataclasses.asdict(preset)))
    differing = [
        name
        for part in ("stream", "network", "keywords")
        for name, value in expected[part].items()
        if settings[part].get(name) != value
    ]
    differing += [name for name in ("semantics", "seeds") if settings[name] != expected[name]]
    if summary["data"] != preset.dataset:
        differing.append("data")
    if differing:
        sys.exit(
            f"error: {folder} is not a run of the preset; it differs in {', '.join(differing)}."
        )
    return {**summary, "heads": settings["stream"].get("heads", "per_task")}


def _row(summary: dict[str, Any]) -> dict[str, Any]:
    seconds = sum(summary[f"{part}_seconds"] for part in ("compile", "train", "eval"))
    numbers = {name: summary[name] for name in _VALUES}
    rounded = {name: "" if value is None else f"{value:.2f}" for name, value in numbers.items()}
    keys = {key: summary[key] for key in (*_KEYS, "num_seeds")}
    diverged = " ".join(map(str, summary["diverged_seeds"]))
    return {**keys, "diverged_seeds": diverged, **rounded, "minutes": f"{seconds / 60:.1f}"}


if __name__ == "__main__":
    console.prepare()
    with console.plain_errors():
        main(sys.argv[1:])
