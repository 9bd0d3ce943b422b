"""Measure learners' updates per second on a benchmark, against the machine's matrix-product rate.

    python -m benchmarks.throughput [--json=FILE]
    python -m benchmarks.throughput --learner=all --num_seeds=8
    python -m benchmarks.throughput --benchmark=split_cifar100 --num_seeds=1,2 --data_dir=DATA

By default La-MAML on MNIST Rotations in first and second order; every learner is at its preset, on the tenth task.

Every case runs in a process of its own, on real images, with replay, shuffling and memory included. Nothing else should
run meanwhile. An update counts once per seed.
"""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags
from tqdm import tqdm

from benchmarks import measure
from experiments import presets

_BENCHMARK = flags.DEFINE_enum(
    "benchmark", "mnist_rotations", ["mnist_rotations", "split_cifar100"], "Stream of tasks"
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "As for experiments.train; the packaged MNIST subset by default"
)
_SEEDS = flags.DEFINE_list("num_seeds", ["1", "8"], "Numbers of seeds to measure")
_ORDERS = flags.DEFINE_list("order", ["first", "second"], "Orders of La-MAML to measure")
_LEARNERS = flags.DEFINE_list(
    "learner", ["la_maml"], "Learners to measure, or all that have a preset"
)
_PRECISION = flags.DEFINE_enum(
    "precision", None, ["float32", "bfloat16"], "As for experiments.train"
)
_CONVOLUTION = flags.DEFINE_enum(
    "convolution", None, ["patches", "lax"], "As for experiments.train"
)
_REPEATS = flags.DEFINE_integer(
    "repeats", 5, "Timed tasks per case, after one that is not timed", lower_bound=1
)
_JSON = flags.DEFINE_string("json", None, "Also write the measurements to this file")

_HEADER = (
    "| learner | seeds | updates/s (min to max) | ms per update | µs per example-gradient | compile s "
    "| peak memory MB | GFLOP/s | of product rate | evaluation s per seed |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def main(argv: Sequence[str]) -> None:
    """Measure every case and print the table."""
    try:
        cases = _cases()
    except ValueError as error:
        sys.exit(f"error: {error}")
    rate = measure.in_own_process(measure.product_rate)
    print(f"{rate['device']}; large float32 matrix products: {rate['gflops']:.0f} GFLOP/s\n")
    rows = [measure.in_own_process(measure.measure, case) for case in tqdm(cases, unit="case")]
    print(_HEADER)
    for row in rows:
        print(_line(row, rate["gflops"]))
    if _JSON.value:
        text = json.dumps({"product_rate": rate, "cases": rows}, indent=2)
        pathlib.Path(_JSON.value).write_text(text + "\n")


def _cases() -> list[measure.Case]:
    names = _LEARNERS.value
    if names == ["all"]:
        names = presets.names(_BENCHMARK.value, "single")
    if bad := [text for text in _SEEDS.value if not text.isdecimal() or int(text) < 1]:
        raise ValueError(f"num_seeds is {bad[0]!r}; it must be integers >= 1.")
    if _BENCHMARK.value != "mnist_rotations" and _DATA_DIR.value is None:
        raise ValueError(f"data_dir is not given; {_BENCHMARK.value} needs its dataset there.")
    network = {"precision": _PRECISION.value, "convolution": _CONVOLUTION.value}
    cases = [
        measure.Case(
            *(_BENCHMARK.value, name, assignments, network, int(seeds)),
            *(_REPEATS.value, _DATA_DIR.value),
        )
        for name in names
        for assignments in _variants(name)
        for seeds in _SEEDS.value
    ]
    for case in cases:
        presets.require(case.benchmark, case.learner, "single")
        case.config()
    return cases


def _variants(learner: str) -> list[tuple[str, ...]]:
    return [(f"order={order}",) for order in _ORDERS.value] if learner == "la_maml" else [()]


def _line(row: dict[str, Any], product_rate: float) -> str:
    speed, low, high = (row["updates_per_second"][k] for k in ("median", "min", "max"))
    digits = 0 if speed > 100 else 2
    per_gradient = row["us_per_example_gradient"]
    options = [f"{name}={value}" for name, value in row["network"].items() if value]
    return (
        f"| {' '.join((row['learner'], *row['assignments'], *options))} | {row['num_seeds']} "
        f"| {speed:.{digits}f} ({low:.{digits}f} to {high:.{digits}f}) | {1000 / speed:.3g} "
        f"| {'–' if per_gradient is None else format(per_gradient, '.3g')} "
        f"| {row['compile_seconds']:.1f} | {row['peak_memory_mb']:.0f} "
        f"| {row['gflops']:.0f} | {row['gflops'] / product_rate:.0%} "
        f"| {row['eval_seconds_per_seed']:.1f} |"
    )


if __name__ == "__main__":
    app.run(main)
