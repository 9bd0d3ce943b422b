"""Make one run of its units: to the last bit the files that one machine would have written.

Dimensions: R runs, S stages.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.cluster import units
from experiments.cluster.units import Unit
from experiments.runs import descriptions, metric_lines, runner, workdirs
from experiments.runs.config import Config
from lamaml_jax import checkpoint, training
from lamaml_jax.checkpoint import Place
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.files import write_whole
from lamaml_jax.training.recording import OF_ALL, Record
from lamaml_jax.training.saving import CHECKPOINTS, DESCRIPTION, read_arrays

_ENVIRONMENT = ("versions", "device", "flags", "numerics")


def merge(
    config: Config, dataset: ImageDataset | None, folder: pathlib.Path, parts: Sequence[Unit]
) -> None:
    """Write a run's files from those of its finished units.

    Args:
        config: Of the run.
        dataset: The images.
        folder: The run's work directory.
        parts: All its units, in order.

    Raises:
        ValueError: A unit is of another run, or a file of it damaged; or another process is at work in the folder.
    """
    units.check_finished(parts, config, dataset)
    plan = training.plan(
        **config.training(config.make_benchmark(dataset)), settings=config.keywords
    )
    summaries = [workdirs.read_summary(part.folder) or {} for part in parts]
    clock = {
        name: sum(summary[f"{name}_seconds"] for summary in summaries)
        for name in ("compile", "train", "eval")
    }
    records = [workdirs.read_results(part.folder) for part in parts]
    record: Record = {
        name: first if name in OF_ALL else np.concatenate([of[name] for of in records])
        for name, first in records[0].items()
    }
    seeds = [seed for _, seed in config.runs().each()]
    if record["seeds"].tolist() != seeds:
        raise ValueError(
            f"units of {str(folder)!r} have results of the seeds {record['seeds'].tolist()}; they must be {seeds}, so "
            "begin anew in a new folder."
        )
    infos, done = _learnt(parts)
    description = _description(config, parts)
    with descriptions.kept(folder) as keep:
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
        for name in descriptions.NAMES:
            workdirs.write_json(folder / name, description)
        keep()
        _merge_states(config, folder / CHECKPOINTS, [part.folder / CHECKPOINTS for part in parts])
        keep()
        metric_lines.write_rows(folder, record, plan.rows[:done], infos)
        keep()
        runner.finish(config, dataset, folder, plan, record, clock, done)


def _description(config: Config, parts: Sequence[Unit]) -> dict[str, Any]:
    """Return what config.json says of the whole: what it says of the units, but for which runs they have."""
    found = [workdirs.read_description(part.folder) for part in parts]
    if differing := [n for n in _ENVIRONMENT if any(f.get(n) != found[0].get(n) for f in found)]:
        print(
            f"warning: units of {parts[0].folder.parent.parent} differ in {', '.join(differing)}, so their bits may "
            "not be those of one machine.",
            file=sys.stderr,
        )
    return found[0] | {"settings": dataclasses.asdict(config)}


def _learnt(parts: Sequence[Unit]) -> tuple[tuple[str, ...], int]:
    """Return what the learner reports, and how many stages the unit that came furthest has learnt."""
    infos: tuple[str, ...] = ()
    done = 0
    for part in parts:
        lines = (part.folder / "metrics.jsonl").read_bytes().splitlines()
        if lines:
            last = json.loads(lines[-1])
            done = max(done, last["task"])
            names = list(last)
            infos = tuple(names[names.index("mean_accuracy_so_far") + 1 : names.index("diverged")])
    return infos, done


def _merge_states(config: Config, folder: pathlib.Path, states: Sequence[pathlib.Path]) -> None:
    """Join the states of all units at the last place, and at the one before where all have it."""
    description = json.loads((states[0] / DESCRIPTION).read_bytes())
    runs = {"seeds": list(config.seeds), "points": [dict(point) for point in config.points]}
    workdirs.write_json(folder / DESCRIPTION, description | runs)
    saved = [checkpoint.saved(state) for state in states]
    for place in max(saved, key=lambda places: places[-1:]):
        chosen = [_chosen(place, places) for places in saved]
        if None in chosen:
            continue
        arrays = [read_arrays(s / p.name) for s, p in zip(states, chosen, strict=True) if p]
        with write_whole(folder / place.name) as file:
            np.savez(file, allow_pickle=False, **_joined(arrays))


def _chosen(place: Place, places: Sequence[Place]) -> Place | None:
    """Return which of a unit's states is part of the whole's at a place, or None.

    A unit whose runs all diverged ends before the others, and is from then on what it was in the end.
    """
    return place if place in places else places[-1] if places[-1] < place else None


def _joined(arrays: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    joined = {}
    for name, first in arrays[0].items():
        of_units = [of[name] for of in arrays]
        if name.startswith("['clock']"):
            joined[name] = np.sum(of_units)
        elif any(name == f"['record']['{shared}']" for shared in OF_ALL):
            joined[name] = first
        else:
            joined[name] = np.concatenate(of_units)
    return joined
