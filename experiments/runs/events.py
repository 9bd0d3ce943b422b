"""Event files for TensorBoard: the numbers of metrics.jsonl and each layer's rates, in tensorboard/seed_<seed>.

Steps count the tasks learnt. The files are written by tensorboardX, an extra, and anew when a run goes on: what was
written of a task that is learnt again is not there twice.
"""

import contextlib
import importlib.util
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.runs import metric_lines, workdirs
from lamaml_jax import Progress, metrics

FOLDER = "tensorboard"


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
def writing(workdir: pathlib.Path, seeds: Sequence[int]) -> Iterator[Callable[[Progress], None]]:
    """Begin the event files of a run's seeds, and close them after the block.

    Args:
        workdir: The run's.
        seeds: One folder each.

    Returns:
        What writes the tasks that were not written yet.
    """
    from tensorboardX import SummaryWriter

    for path in workdirs.event_files(workdir):
        path.unlink()
    writers = [SummaryWriter(str(workdir / FOLDER / f"seed_{seed}")) for seed in seeds]
    written = 0

    def write(progress: Progress) -> None:
        nonlocal written
        record = progress.record
        layers = metrics.layer_names(progress.state.lrs) if "rate_mean" in record else []
        for task in range(written, progress.done):
            row = progress.rows[task]
            lines = metric_lines.of_task(record, task, row, progress.infos)
            for i, (writer, line) in enumerate(zip(writers, lines, strict=True)):
                values = {**_numbers(line), **_rates(record, i, row, layers)}
                for name, value in values.items():
                    writer.add_scalar(name, value, global_step=row)
                writer.flush()
        written = progress.done

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
