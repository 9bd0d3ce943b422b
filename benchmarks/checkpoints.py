"""Measure what keeping states has cost a finished run: each as large as its last one, on the disk where it is.

The arrays are on the host; copying them from the devices, which a run does first, is left out.

python -m benchmarks.checkpoints RUN
"""

import json
import pathlib
import statistics
import sys
import tempfile
import time

from lamaml_jax import checkpoint
from lamaml_jax.files import read_npz

_MINUTES = 5.0  # between states inside tasks, by default
_REPEATS = 5


def main(run: pathlib.Path) -> None:
    """Write the last state several times, and print its size, its time, and the share of the run's time."""
    summary = json.loads((run / "summary.json").read_bytes())
    last = checkpoint.saved(run / "state")[-1]
    arrays = read_npz(run / "state" / last.name)
    seconds = []
    with tempfile.TemporaryDirectory(dir=run.parent) as folder:
        for number in range(_REPEATS):
            start = time.perf_counter()
            checkpoint.save(pathlib.Path(folder), checkpoint.Place(number), arrays)
            seconds.append(time.perf_counter() - start)
    of_run = sum(summary[f"{part}_seconds"] for part in ("compile", "train", "eval"))
    states = last.stage + int(summary["train_seconds"] / 60 / _MINUTES)
    median = statistics.median(seconds)
    size = sum(array.nbytes for array in arrays.values()) / 2**20
    print(
        f"{summary['learner']} on {summary['benchmark']}, {summary['num_seeds']} seeds, {last.stage} tasks: a state of "
        f"{size:.1f} MiB takes {1000 * median:.0f} ms ({1000 * min(seconds):.0f} to {1000 * max(seconds):.0f}), "
        f"{states} states {states * median:.1f} s of {of_run:.0f} s: {100 * states * median / of_run:.2f} %."
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
