"""The lines of metrics.jsonl, one per task and seed."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lamaml_jax import Progress
from lamaml_jax.files import write_whole


def write(workdir: pathlib.Path, progress: Progress) -> None:
    """Write metrics.jsonl on every task learnt so far."""
    write_rows(workdir, progress.record, progress.rows[: progress.done], progress.infos)


def write_rows(
    workdir: pathlib.Path,
    record: Mapping[str, np.ndarray],
    rows: Sequence[int],
    infos: Sequence[str],
) -> None:
    """Write a line per seed on every task into metrics.jsonl; tasks count from 1, accuracies are in percent.

    Args:
        workdir: Of the run.
        record: What was measured.
        rows: Of the accuracy matrix, after each task that was learnt.
        infos: The names of what the learner reports.
    """
    with write_whole(workdir / "metrics.jsonl") as file:
        for task, row in enumerate(rows):
            for line in of_task(record, task, row, infos):
                file.write(json.dumps(line).encode() + b"\n")


def of_task(
    record: Mapping[str, np.ndarray], task: int, row: int, infos: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what metrics.jsonl says of a task, for each seed.

    Args:
        record: What was measured.
        task: Of those learnt, from 0.
        row: Of the accuracy matrix, after the task.
        infos: The names of what the learner reports.
    """
    accuracy = 100 * record["accuracy"][:, row, :row]
    diverged = np.isnan(accuracy[:, task])

    def mean(name: str, run: int) -> float | None:
        # A task may have fewer batches than the longest; where a run goes on, nothing else is NaN.
        return None if diverged[run] else _number(np.nanmean(record[name][run, task]))

    return [
        {
            "task": task + 1,
            "seed": int(seed),
            "accuracy": _number(accuracy[i, task]),
            "mean_accuracy_so_far": _number(accuracy[i].mean()),
            **{name: mean(name, i) for name in infos},
            "diverged": bool(diverged[i]),
        }
        for i, seed in enumerate(record["seeds"])
    ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
