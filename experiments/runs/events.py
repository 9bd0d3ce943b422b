"""Event files for TensorBoard: the numbers of metrics.jsonl and each layer's rates, in tensorboard/seed_<seed>.

Steps count the tasks learnt. The files are written by tensorboardX, an extra, and anew when a run goes on: what was
written of a task that is learnt again is not there twice.
"""

import contextlib
import importlib.util
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from experiments.runs import workdirs

FOLDER = "tensorboard"


class Writer(Protocol):
    """`write(record, num_tasks_done)` writes what was measured of tasks that were not written yet."""

    def __call__(self, record: Mapping[str, np.ndarray], num_tasks_done: int, /) -> None:
        """Write the tasks up to this number."""


def require() -> None:
    """Check that event files can be written.

    Raises:
        ValueError: tensorboardX is not installed.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise ValueError(
            "tensorboard is given, but tensorboardX is not installed; get it by: pip install tensorboardX"
        )


@contextlib.contextmanager
def writing(
    workdir: pathlib.Path,
    seeds: Sequence[int],
    rows: Sequence[int],
    infos: Sequence[str],
    layer_names: Sequence[str] = (),
) -> Iterator[Writer]:
    """Begin the event files of a run's seeds, and close them after the block.

    Args:
        workdir: The run's.
        seeds: One folder each.
        rows: As for `workdirs.write_metrics`.
        infos: As for `workdirs.write_metrics`.
        layer_names: Of learnt rates, if there are any.
    """
    from tensorboardX import SummaryWriter

    for path in workdirs.event_files(workdir):
        path.unlink()
    writers = [SummaryWriter(str(workdir / FOLDER / f"seed_{seed}")) for seed in seeds]
    written = 0

    def write(record: Mapping[str, np.ndarray], num_tasks_done: int) -> None:
        nonlocal written
        for task in range(written, num_tasks_done):
            lines = workdirs.lines_of_task(record, task, rows[task], infos)
            for i, (writer, line) in enumerate(zip(writers, lines, strict=True)):
                values = {**_numbers(line), **_rates(record, i, rows[task], layer_names)}
                for name, value in values.items():
                    writer.add_scalar(name, value, global_step=rows[task])
                writer.flush()
        written = max(written, num_tasks_done)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    facts = ("task", "seed", "diverged")
    return {name: v for name, v in line.items() if name not in facts and v is not None}


def _rates(
    record: Mapping[str, np.ndarray], run: int, row: int, layer_names: Sequence[str]
) -> dict[str, float]:
    return {
        f"{array}/{layer}": float(record[array][run, row, i])
        for array in ("rate_mean", "rate_share_nonpositive")
        for i, layer in enumerate(layer_names)
        if np.isfinite(record[array][run, row, i])
    }
