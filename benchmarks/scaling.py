"""Measure what a run costs per seed, task, weight and memory slot: each grows while the others keep their presets.

    python -m benchmarks.scaling [--csv=FILE]
    python -m benchmarks.scaling --learner=gem --axis=num_tasks=5,10,20,50
    python -m benchmarks.scaling --axis=width=100,200 --axis=memory=200,2000 --data_dir=DATA

On MNIST Rotations, by default of the packaged subset and with La-MAML. Every case runs in a process of its own. Nothing
else should run meanwhile.
"""

import csv
import io
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags
from tqdm import tqdm

from benchmarks import measure
from lamaml_jax.files import write_whole

_LEARNER = flags.DEFINE_string("learner", "la_maml", "Learner, at its preset")
_AXES = flags.DEFINE_multi_string(
    "axis",
    [
        "num_seeds=1,2,4,8,16,32,64",
        "num_tasks=5,10,20,50,100",
        "width=100,200,400,800,1600",
        "memory=200,1000,5000,20000",
    ],
    "What grows, and its values: num_seeds, num_tasks, width (units of both hidden layers) or memory (slots)",
)
_SEEDS = flags.DEFINE_integer("num_seeds", 2, "Seeds of the other axes", lower_bound=1)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "As for experiments.train; the packaged MNIST subset by default"
)
_REPEATS = flags.DEFINE_integer(
    "repeats", 3, "Timed tasks per case, after one that is not timed", lower_bound=1
)
_CSV = flags.DEFINE_string("csv", None, "Also write the measurements to this file")

_NAMES = ("num_seeds", "num_tasks", "width", "memory")
_COLUMNS = {
    "ms per update": "ms_per_update",
    "peak memory MB": "peak_memory_mb",
    "evaluation s per seed": "eval_seconds_per_seed",
    "compile s": "compile_seconds",
}


def main(argv: Sequence[str]) -> None:
    """Measure every case; print the table and the slopes."""
    try:
        axes = dict(map(_parsed, _AXES.value))
        cases = [(axis, value, _case(axis, value)) for axis in axes for value in axes[axis]]
        for _, _, case in cases:
            case.config()
    except ValueError as error:
        sys.exit(f"error: {error}")
    rate = measure.in_own_process(measure.product_rate)
    print(f"{rate['device']}; large float32 matrix products: {rate['gflops']:.0f} GFLOP/s\n")
    header = ["axis", "value", "weights", *_COLUMNS]
    print(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    rows: list[dict[str, Any]] = []
    for axis, value, case in tqdm(cases, unit="case"):
        found = measure.in_own_process(measure.measure, case)
        rows.append({"axis": axis, "value": value, **_costs(found)})
        print(f"| {' | '.join(_cells(rows[-1]))} |", flush=True)
        if _CSV.value:
            with write_whole(pathlib.Path(_CSV.value)) as file:
                csv.writer(text := io.StringIO()).writerows([header, *map(_cells, rows)])
                file.write(text.getvalue().encode())
    print("\nPer unit of each axis, by least squares:\n")
    for axis in axes:
        print(_slopes(axis, [row for row in rows if row["axis"] == axis]))


def _parsed(text: str) -> tuple[str, list[int]]:
    axis, _, values = text.partition("=")
    if axis not in _NAMES:
        raise ValueError(f"axis is {text!r}; it must start with one of {', '.join(_NAMES)}, and =.")
    if bad := [v for v in values.split(",") if not v.isdecimal() or int(v) < 1]:
        raise ValueError(f"axis is {text!r}; {bad[0]!r} must be an integer >= 1.")
    return axis, [int(value) for value in values.split(",")]


def _case(axis: str, value: int) -> measure.Case:
    """Return the preset with one thing changed."""
    return measure.Case(
        "mnist_rotations",
        _LEARNER.value,
        assignments=(f"memory={value}",) if axis == "memory" else (),
        network={"hidden": [value, value]} if axis == "width" else {},
        num_seeds=value if axis == "num_seeds" else _SEEDS.value,
        repeats=_REPEATS.value,
        data_dir=_DATA_DIR.value,
        stream={"num_tasks": value} if axis == "num_tasks" else {},
    )


def _costs(found: dict[str, Any]) -> dict[str, float]:
    """Return what is compared; the time of an update is that of all seeds over their number."""
    return {
        "weights": found["num_params"],
        "ms_per_update": 1000 / found["updates_per_second"]["median"],
        **{name: found[name] for name in _COLUMNS.values() if name in found},
    }


def _cells(row: dict[str, Any]) -> list[str]:
    measured = [f"{row[name]:.4g}" for name in _COLUMNS.values()]
    return [row["axis"], str(row["value"]), str(row["weights"]), *measured]


def _slopes(axis: str, rows: list[dict[str, Any]]) -> str:
    """Return how much each cost grows by one unit of the axis, of weights where the width grows."""
    unit = "weights" if axis == "width" else "value"
    x = np.array([row[unit] for row in rows], float)
    if len(set(x)) < 2:
        return f"{axis}: one value has no slope"
    slopes = [
        f"{label} {np.polyfit(x, [row[name] for row in rows], 1)[0]:.3g}"
        for label, name in _COLUMNS.items()
    ]
    return f"{'weight' if axis == 'width' else axis}: {', '.join(slopes)}"


if __name__ == "__main__":
    app.run(main)
