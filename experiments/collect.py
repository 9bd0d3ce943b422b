"""Gather finished runs into measured_results.csv, and print them as a table.

    python -m experiments.collect RUN [RUN ...]

RUN is the work directory of a run with a preset's settings: full MNIST, its own number of tasks, test data.
"""

import csv
import json
import pathlib
import sys
from typing import Any

from experiments import presets, report
from experiments.config import stream_sizes

_KEYS = ("benchmark", "protocol", "heads", "learner")
_VALUES = ("ra_mean", "ra_std", "la_mean", "la_std", "bti_mean", "bti_std")
_COLUMNS = (*_KEYS, "num_seeds", *_VALUES, "minutes")


def main(folders: list[str]) -> None:
    """Read the runs, put their rows in the place of older ones, and print a table."""
    summaries = [_summary(pathlib.Path(folder)) for folder in folders]
    with presets.MEASURED_RESULTS.open() as file:
        rows = {tuple(row[key] for key in _KEYS): row for row in csv.DictReader(file)}
    for summary in summaries:
        rows[tuple(summary[key] for key in _KEYS)] = _row(summary)
    with presets.MEASURED_RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))
    print(report.comparison_table(summaries))


def _summary(folder: pathlib.Path) -> dict[str, Any]:
    if not (folder / "summary.json").exists():
        sys.exit(f"error: {folder} holds no finished run.")
    settings = json.loads((folder / "config.json").read_text())["settings"]
    summary = json.loads((folder / "summary.json").read_text())
    preset = presets.keywords(
        settings["benchmark"], settings["learner"], "released", settings["protocol"]
    )
    expected = {
        **{"semantics": "released", "seeds": [0, 1, 2, 3, 4], "eval_split": "test"},
        **{"interpolation": "bilinear"},
    }
    found = {**settings, **settings["keywords"]}
    differing = [n for n, v in {**expected, **preset}.items() if found[n] != v]
    sizes = stream_sizes(settings["benchmark"])
    differing += [name for name, size in sizes.items() if settings[name] != size]
    if summary["data"] != "mnist":
        differing.append("data")
    if differing:
        sys.exit(
            f"error: {folder} is not a run of the preset; it differs in {', '.join(differing)}."
        )
    return {**summary, "heads": settings["heads"]}


def _row(summary: dict[str, Any]) -> dict[str, Any]:
    seconds = sum(summary[f"{part}_seconds"] for part in ("compile", "train", "eval"))
    numbers = {name: summary[name] for name in _VALUES}
    rounded = {name: "" if value is None else f"{value:.2f}" for name, value in numbers.items()}
    keys = {key: summary[key] for key in (*_KEYS, "num_seeds")}
    return {**keys, **rounded, "minutes": f"{seconds / 60:.1f}"}


if __name__ == "__main__":
    main(sys.argv[1:])
