"""Finished runs of presets that were never run, and a file to collect results in."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from experiments.runs.config import Config
from experiments.runs.making import make_config


def preset(benchmark: str, learner: str, *seeds: int, **stream: Any) -> Config:
    return make_config(
        benchmark=benchmark,
        learner=learner,
        assignments=[],
        seeds=seeds,
        stream=stream,
        network={},
    )


def described(settings: dict[str, Any]) -> str:
    return json.dumps({"settings": settings, "data": {}, "versions": {"lamaml_jax": "0"}})


def summary_of(settings: dict[str, Any], **values: Any) -> dict[str, Any]:
    summary = {
        f"{name}_{kind}": 1.0 for name in ("ra", "la", "bti", "fwt") for kind in ("mean", "std")
    }
    summary |= {f"{part}_seconds": 30.0 for part in ("compile", "train", "eval")}
    summary |= {name: settings[name] for name in ("benchmark", "learner", "protocol", "semantics")}
    summary |= {"order": "first", "standard_stream": False, "num_seeds": 5, "diverged_seeds": []}
    return summary | values


def finished(folder: pathlib.Path, retained: list[float], first: int) -> str:
    """Write down a run of La-MAML on CIFAR-100 with 50 % all along and these RA in the end; return its folder."""
    seeds = range(first, first + len(retained))
    config = preset("split_cifar100", "la_maml", *seeds)
    accuracy = np.full((len(retained), 21, 20), 0.5)
    accuracy[:, -1] = np.array(retained)[:, None] / 100
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    folder.mkdir()
    (folder / "config.json").write_text(described(settings))
    ra = {"ra_mean": float(np.mean(retained)), "ra_std": float(np.std(retained))}
    of_images = {"training_images_per_task": 2250, "evaluation_images_per_task": 500}
    more = {"data": "cifar100", "num_seeds": len(retained), "updates_per_second": 1.0, **of_images}
    (folder / "summary.json").write_text(json.dumps(summary_of(settings, **more, **ra)))
    diverged = np.zeros(len(retained), bool)
    np.savez(folder / "results.npz", accuracy=accuracy, seeds=np.array(seeds), diverged=diverged)
    return str(folder)
