"""The files of a run in its work directory.

config.json describes the run, metrics.jsonl grows by a line per task and seed, results.npz holds all that was measured
(accuracies as fractions), summary.json the final numbers (accuracies in percent), state/ what resuming needs.
"""

import dataclasses
import importlib.metadata
import json
import math
import pathlib
import platform
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import lamaml_jax
from experiments import figures, report
from experiments.config import Config
from lamaml_jax.datasets import ImageDataset, checksum

# config.json comes last: where it is removed, nothing of its run is left.
_FILES = (
    *("summary.json", "results.npz", "metrics.jsonl"),
    *("accuracy_matrix.png", "task_accuracy.png", "learning_rates.png", "comparison.png"),
    "config.json",
)
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint", "tensorflow-datasets")


def check(workdir: pathlib.Path, config: Config, dataset: ImageDataset) -> None:
    """Check that `workdir` holds nothing, or this very run.

    Raises:
        ValueError: It holds another run, or is not a folder.
    """
    advice = (
        "it must be a new folder or one of the same run, or pass --overwrite to remove its results."
    )
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"workdir is {str(workdir)!r}, which is not a folder.")
    path = workdir / "config.json"
    if path.exists():
        try:
            differing = _differing(
                workdir, json.loads(path.read_text()), _describe(config, dataset)
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"workdir is {str(workdir)!r}, whose config.json is not one of ours; {advice}"
            ) from None
        if differing:
            names = ", ".join(differing)
            raise ValueError(
                f"workdir is {str(workdir)!r}, which holds a run that differs in {names}; {advice}"
            )
    elif left := [name for name in (*_FILES, "state") if (workdir / name).exists()]:
        raise ValueError(
            f"workdir is {str(workdir)!r}, which holds {left[0]} without a config.json; {advice}"
        )


def claim(workdir: pathlib.Path, config: Config, dataset: ImageDataset) -> None:
    """Check `workdir` and write config.json if it is new.

    Raises:
        ValueError: As `check`.
    """
    check(workdir, config, dataset)
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / "config.json").exists():
        _write_json(workdir / "config.json", _describe(config, dataset))


def remove_results(workdir: pathlib.Path) -> None:
    """Remove what runs have written into `workdir`."""
    shutil.rmtree(workdir / "state", ignore_errors=True)
    for name in _FILES:
        (workdir / name).unlink(missing_ok=True)


def read_summary(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Return the summary of a finished run, or None while it is not finished."""
    path = workdir / "summary.json"
    return json.loads(path.read_text()) if path.exists() else None


def truncate_metrics(workdir: pathlib.Path, num_tasks_done: int) -> None:
    """Drop the lines of tasks that will be trained again."""
    path = workdir / "metrics.jsonl"
    begun = num_tasks_done and path.exists()
    lines = path.read_text().splitlines(keepends=True) if begun else []
    # The last line may have been cut short.
    whole = [line for line in lines if line.endswith("\n")]
    kept = [line for line in whole if json.loads(line)["task"] <= num_tasks_done]
    path.write_text("".join(kept))


def append_metrics(
    workdir: pathlib.Path, record: Mapping[str, np.ndarray], task: int, row: int, infos: list[str]
) -> None:
    """Append a line per seed on the task just learnt; tasks count from 1, accuracies are in percent.

    `row` is that of the accuracy matrix, of which the first `row` tasks have been seen.
    """
    accuracy = 100 * record["accuracy"][:, row, :row]
    with (workdir / "metrics.jsonl").open("a") as file:
        for i, seed in enumerate(record["seeds"]):
            line = {
                "task": task + 1,
                "seed": int(seed),
                "accuracy": _number(accuracy[i, task]),
                "mean_accuracy_so_far": _number(accuracy[i].mean()),
                **{name: _number(record[name][i, task].mean()) for name in infos},
                "diverged": bool(record["diverged"][i]),
            }
            file.write(json.dumps(line) + "\n")


def write_results(
    workdir: pathlib.Path,
    record: Mapping[str, np.ndarray],
    summary: Mapping[str, Any],
    title: str,
) -> list[pathlib.Path]:
    """Write results.npz, the figures and, last, summary.json, which says that the run is finished."""
    np.savez_compressed(workdir / "results.npz", **record)  # type: ignore[arg-type]
    paths = figures.write_figures(workdir, record, title)
    _write_json(workdir / "summary.json", summary)
    return paths


def write_comparison(
    root: pathlib.Path, folders: Sequence[pathlib.Path], summaries: Sequence[Mapping[str, Any]]
) -> pathlib.Path:
    """Draw the learners of several finished runs into comparison.png, the paper's values as markers."""
    accuracies, paper = {}, {}
    for folder, summary in zip(folders, summaries, strict=True):
        with np.load(folder / "results.npz") as results:
            accuracies[report.TITLES[summary["learner"]]] = results["accuracy"][
                ~results["diverged"]
            ]
        paper[report.TITLES[summary["learner"]]] = report.paper_values(summary)
    figure = figures.plot_comparison(
        {title: accuracy for title, accuracy in accuracies.items() if len(accuracy)},
        summaries[0]["benchmark"],
        {title: values["ra_mean"] for title, values in paper.items() if "ra_mean" in values},
        {title: values["bti_mean"] for title, values in paper.items() if "bti_mean" in values},
    )
    figure.savefig(root / "comparison.png")
    return root / "comparison.png"


def _describe(config: Config, dataset: ImageDataset) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "settings": json.loads(json.dumps(dataclasses.asdict(config))),
        "data": {
            "name": dataset.name,
            "source": dataset.source,
            "sha256": checksum(dataset),
        },
        "versions": {
            "lamaml_jax": lamaml_jax.__version__,
            "python": platform.python_version(),
            **versions,
        },
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def _differing(
    workdir: pathlib.Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[str]:
    """Name what differs of that which determines the results, to the last bit if the run is to be resumed."""
    settings = wanted["settings"]
    names = [name for name in settings if found["settings"].get(name) != settings[name]]
    if found["data"]["sha256"] != wanted["data"]["sha256"]:
        names.append("data")
    if not (workdir / "summary.json").exists():
        names += [name for name in ("versions", "device") if found[name] != wanted[name]]
    return names


def _write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    """Write a file that is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=2) + "\n")
    partial.replace(path)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
