"""Compute runs on Ray's cluster: unit by unit, wherever there is room, again where a machine or a process dies.

Ray knows the machines, starts the processes and says which died; all else is in the work directories, which every
machine sees: states, results, and locks. So this process may itself be killed, and the same command goes on.
"""

import math
import pathlib
from collections.abc import Sequence

from experiments.cluster import merging, ray_cluster, units, work
from experiments.cluster import options as cluster_options
from experiments.cluster.ray_cluster import Need
from experiments.cluster.units import Unit
from experiments.runs import workdirs
from experiments.runs.config import Config
from lamaml_jax import training
from lamaml_jax.datasets import ImageDataset

Run = tuple[Config, pathlib.Path]


def compute(runs: Sequence[Run], dataset: ImageDataset | None, *, overwrite: bool = False) -> None:
    """Compute runs on the cluster that the flags name, if they name one; `runner.run` then finds them finished.

    Args:
        runs: Each with its folder, which is kept from other processes.
        dataset: The images of all.
        overwrite: Begin anew where units of an earlier call are there.

    Raises:
        ValueError: Flags, folders and cluster do not go together; or units failed, once all others have ended
            and the runs whose units are all finished are merged.
        SystemExit: A signal asked to stop; the states are kept.
    """
    wanted = cluster_options.wanted()
    for run in runs:
        if overwrite or (wanted is not None and workdirs.is_finished(run[1])):
            _remove_units(run, dataset)
    runs = [(config, folder) for config, folder in runs if not workdirs.is_finished(folder)]
    for _, folder in runs:
        _check_begun(folder, on_cluster=wanted is not None)
    if wanted is None or not runs:
        return
    with ray_cluster.connected(wanted.address) as ray:
        need = ray_cluster.need(ray, wanted.unit_cpus, wanted.unit_gpus)
        parts = [_divide(run, dataset, wanted.unit_runs, _evenly(runs, need)) for run in runs]
        for (config, _), of_run in zip(runs, parts, strict=True):
            units.check_finished(of_run, config, dataset)
        failed = work.perform(ray, need, [unit for of_run in parts for unit in of_run], dataset)
    for run, of_run in zip(runs, parts, strict=True):
        if failed and not all(workdirs.is_finished(unit.folder) for unit in of_run):
            continue
        try:
            merging.merge(run[0], dataset, run[1], of_run)
            _remove_units(run, dataset)
        except ValueError as error:  # which must not withhold the results of the others
            failed.append(str(error))
    if failed:
        others = f" Others that failed as well: {len(failed) - 1}." if len(failed) > 1 else ""
        raise ValueError(f"{failed[0]}{others}")


def _check_begun(folder: pathlib.Path, *, on_cluster: bool) -> None:
    """Check that a run goes on as it was begun, by itself or in units."""
    in_units = units.read_division(folder) is not None
    if in_units and not on_cluster:
        raise ValueError(
            f"workdir is {str(folder)!r}, which holds units of a cluster; pass --cluster=local to go on with them here."
        )
    if on_cluster and not in_units and (folder / "config.json").exists():
        raise ValueError(
            f"workdir is {str(folder)!r}, which holds a run that was begun on one machine; go on without --cluster, "
            "or take a new folder."
        )


def _divide(run: Run, dataset: ImageDataset | None, asked: int | None, evenly: int) -> list[Unit]:
    """Return a run's units: as they were begun, as the user asks, or evenly over the cluster."""
    config, folder = run
    benchmark = config.make_benchmark(dataset)
    stages = len(training.plan(**config.training(benchmark), settings=config.keywords).rows)
    begun = units.read_division(folder)
    if asked is not None and begun not in (None, asked):
        raise ValueError(
            f"unit_runs is {asked}; it must stay {begun} in {str(folder)!r}, whose units have so many runs."
        )
    size = begun or asked or evenly
    if begun is None:
        units.write_division(folder, size)
    return units.divide(config, folder, size, stages)


def _evenly(runs: Sequence[Run], need: Need) -> int:
    """Return how many runs a unit has if all of the cluster is to be at work; each of its CPUs has one at least."""
    every = sum(len(config.runs().each()) for config, _ in runs)
    return max(1 if need.gpus else need.cpus, math.ceil(every / max(1, need.places)))


def _remove_units(run: Run, dataset: ImageDataset | None) -> None:
    """Remove what is a unit's; other files stay."""
    config, folder = run
    for unit in units.folders(folder):
        with workdirs.reserve([(config, unit)], dataset, overwrite=True):
            pass
    units.remove(folder)
