"""The files of a run in its work directory.

config.json describes the run (with a copy, see `descriptions`), metrics.jsonl has a line per task and seed (see
`metric_lines`), results.npz holds all that was measured (accuracies as fractions), summary.json the final numbers
(accuracies in percent), rates.npz all learnt rates and dynamics.npz how the run learns where they were asked for (see
`diagnostics` and `dynamics`), state/ what resuming needs. Each is written whole or not at all.
"""

import contextlib
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reporting.summary import is_summary
from experiments.runs import descriptions, identity, locks
from experiments.runs.config import Config
from lamaml_jax import checkpoint
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.files import PARTIAL, write_whole
from lamaml_jax.training import saving

PICTURE_MARK = {"Software": "lamaml_jax"}
"""What our picture files say of themselves, among a PNG's first bytes."""

CLUSTER = "cluster"
"""The folder of a run's units in its work directory, where they are computed on a cluster."""

_PICTURES = (
    *("accuracy_matrix.png", "task_accuracy.png", "learning_rates.png", "comparison.png"),
    *("inside_tasks.png", "rate_histogram.png", "dynamics.png"),
)
_OF_STATES = (saving.DESCRIPTION, "config.json")
# config.json comes last: where it is removed, nothing of its run is left.
_FILES = (
    *("summary.json", "results.npz", "rates.npz", "dynamics.npz", "metrics.jsonl"),
    *_PICTURES,
    "config.json",
)


@contextlib.contextmanager
def reserve(
    runs: Sequence[tuple[Config, pathlib.Path]],
    dataset: ImageDataset | None,
    *,
    overwrite: bool = False,
) -> Iterator[None]:
    """Keep the work directories of runs from other processes during the block, once all are checked.

    Args:
        runs: Each with its folder.
        dataset: The images of all.
        overwrite: Remove what earlier runs have left there.

    Raises:
        ValueError: A folder holds something else than its run, or another process is at work there.
    """
    for config, workdir in runs:
        if overwrite:
            _removable(workdir)
        else:
            check(workdir, config, dataset)
    with contextlib.ExitStack() as stack:
        for _, workdir in runs:
            # A finished run is only read, perhaps where nothing can be written.
            if overwrite or not is_finished(workdir):
                stack.enter_context(locks.hold(workdir))
        if overwrite:
            for _, workdir in runs:
                for path in _removable(workdir):
                    path.unlink()
                folders = sorted(workdir.glob("tensorboard/seed_*"))
                for folder in (workdir / "state", *folders, workdir / "tensorboard"):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
        yield


def check(workdir: pathlib.Path, config: Config, dataset: ImageDataset | None) -> None:
    """Check that `workdir` holds nothing, or this very run.

    Raises:
        ValueError: It holds another run, or is not a folder.
    """
    if found := _descriptions(workdir):
        _compare(workdir, found, identity.describe(config, dataset))


def check_described(workdir: pathlib.Path, wanted: Mapping[str, Any]) -> None:
    """Check that `workdir` holds nothing, or the run that `identity.describe` describes so.

    Raises:
        ValueError: It holds another run, or is not a folder.
    """
    _compare(workdir, _descriptions(workdir), wanted)


def claim(workdir: pathlib.Path, config: Config, dataset: ImageDataset | None) -> None:
    """Check `workdir`, and unless its run is finished, write config.json and its copy where they are not there.

    Raises:
        ValueError: As `check`.
    """
    found, wanted = _descriptions(workdir), identity.describe(config, dataset)
    _compare(workdir, found, wanted)
    if is_finished(workdir):
        return
    for name in descriptions.NAMES:
        path = workdir / name
        there = descriptions.read(path)
        if there is None or identity.differences(there, wanted, finished=False):
            if path.exists():
                print(f"warning: {path} is damaged, and written anew.", file=sys.stderr)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, wanted)


def is_our_picture(path: pathlib.Path) -> bool:
    """Say whether a file is a picture that a run has drawn, whatever its name."""
    ((keyword, text),) = PICTURE_MARK.items()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return f"{keyword}\0{text}".encode() in file.read(1000)


def read_summary(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Return the summary of a finished run, or None while it is not finished.

    Raises:
        ValueError: The file is damaged.
    """
    if not is_finished(workdir):
        return None
    path = workdir / "summary.json"
    try:
        summary = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        summary = None
    if not is_summary(summary):
        raise ValueError(f"{path} is damaged; remove it, and the same command writes it anew.")
    return summary


def is_finished(workdir: pathlib.Path) -> bool:
    """Return whether a run has written all that it measured."""
    return (workdir / "summary.json").exists()


def read_settings(workdir: pathlib.Path) -> dict[str, Any]:
    """Return what config.json says of a run's configuration.

    Raises:
        ValueError: The folder holds no run.
    """
    return read_description(workdir)["settings"]


def read_description(workdir: pathlib.Path) -> dict[str, Any]:
    """Return what config.json says of a run: its settings, data, versions and devices.

    Raises:
        ValueError: The folder holds no run.
    """
    found = _descriptions(workdir)
    if not found:
        raise ValueError(f"workdir is {str(workdir)!r}, which holds no run.")
    return found[0]


def read_results(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """Return what a finished run has measured.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        return saving.read_arrays(workdir / saving.RESULTS)
    except ValueError:
        raise ValueError(
            f"{workdir / saving.RESULTS} is missing or damaged; remove it and summary.json, and the same command "
            "writes both anew."
        ) from None


def place(workdir: pathlib.Path) -> checkpoint.Place:
    """Return how far the run of a work directory is, by the states that it has kept."""
    return (checkpoint.saved(workdir / saving.CHECKPOINTS) or [checkpoint.Place(0)])[-1]


def event_files(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Return the files that `events` has written."""
    return sorted(workdir.glob("tensorboard/seed_*/events.out.tfevents.*"))


def write_results(
    workdir: pathlib.Path, record: Mapping[str, np.ndarray], summary: Mapping[str, Any]
) -> None:
    """Write results.npz and, last, summary.json, which says that the run is finished."""
    with write_whole(workdir / "results.npz") as file:
        # In one order, whether measured at one go or, from a state, with names as a tree sorts them.
        np.savez_compressed(file, allow_pickle=False, **dict(sorted(record.items())))
    write_json(workdir / "summary.json", summary)


def write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file for people to read."""
    with write_whole(path) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")


def _descriptions(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Return what config.json and its copy say, as far as they are whole; nothing of a folder that holds nothing.

    Raises:
        ValueError: What is there is not of ours.
    """
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"workdir is {str(workdir)!r}, which is not a folder.")
    if found := descriptions.whole(workdir):
        return found
    advice = (
        "it must be a new folder or one of a run; if this is one, remove it by hand to begin anew."
    )
    if (workdir / "config.json").exists():
        raise ValueError(
            f"workdir is {str(workdir)!r}, whose config.json is damaged or not one of ours; {advice}"
        )
    if left := [name for name in (*_FILES, "state") if _is_written(workdir / name)]:
        raise ValueError(
            f"workdir is {str(workdir)!r}, which holds {left[0]} without a config.json; {advice}"
        )
    return []


def _compare(
    workdir: pathlib.Path, found: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]
) -> None:
    """Check that one of the descriptions found is the one wanted, or that there is none."""
    # What a cluster has computed is only merged here.
    finished = is_finished(workdir) or (workdir / CLUSTER).exists()
    differing = [identity.differences(one, wanted, finished=finished) for one in found]
    if differing and all(differing):
        raise ValueError(
            f"workdir is {str(workdir)!r}, which holds a run that differs in {', '.join(differing[0])}; it must be a "
            "new folder or one of the same run (of which experiments.train removes the results with --overwrite)."
        )


def _removable(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Return the files that runs have written into `workdir`.

    Raises:
        ValueError: It holds no run, or something that is not of ours where the run's own files are.
    """
    if not _descriptions(workdir):
        return []
    states = list((workdir / "state").iterdir()) if (workdir / "state").exists() else []
    for path in states:
        name = path.name.removesuffix(PARTIAL).removesuffix(checkpoint.DAMAGED)
        if path.is_dir() or not (checkpoint.is_name(name) or name in _OF_STATES):
            raise ValueError(
                f"overwrite is given; {path} is not of a run, so nothing in {str(workdir)!r} is removed."
            )
    names = [name + ending for name in _FILES for ending in (PARTIAL, "")]
    known = (path for name in names if _is_written(path := workdir / name))
    return [*states, *event_files(workdir), *known]


def _is_written(path: pathlib.Path) -> bool:
    """Say whether a file of a name that runs write is there, and no picture of others."""
    return path.exists() and (path.name not in _PICTURES or is_our_picture(path))
