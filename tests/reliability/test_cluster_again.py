"""Runs on a cluster that are asked for again, after some of their units or all were computed; without Ray."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from running import Stopped, run_train

from experiments.cluster import merging, ray_cluster, units, work
from experiments.cluster.units import Unit
from experiments.runs import finished, runner, workdirs
from experiments.runs.config import Config
from lamaml_jax.datasets import ImageDataset

pytestmark = pytest.mark.usefixtures("quick_compile")

TINY = ("--packaged_mnist", "--num_tasks=2", "--samples_per_task=20", "--cluster=local")

Cluster = Callable[..., list[str]]


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Compute units in this process, of some learners, the others' fail; return the names of those computed."""

    def call(*flags: str, failing: Sequence[str] = ()) -> list[str]:
        computed: list[str] = []

        def perform(_: Any, __: Any, parts: Sequence[Unit], dataset: ImageDataset) -> list[str]:
            for part in parts:
                if part.config.learner not in failing and not workdirs.is_finished(part.folder):
                    runner.run(part.config, dataset, part.folder)
                    computed.append(part.folder.name)
            return [f"a unit of {learner} failed." for learner in failing]

        monkeypatch.setattr(work, "perform", perform)
        run_train(*TINY, *flags)
        return computed

    need = ray_cluster.Need(1, 0, 2)
    monkeypatch.setattr(ray_cluster, "connected", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(ray_cluster, "need", lambda *_: need)
    return call


@pytest.fixture
def unmerged(
    computing: Cluster, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
    """Three seeds in units of two runs at most, all finished, whose driver died before it merged them."""

    def die(*_: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(merging, "merge", die)
        computing("--learner=online", "--num_seeds=3", "--unit_runs=2", f"--workdir={tmp_path}")
    assert all(workdirs.is_finished(folder) for folder in units.folders(tmp_path))
    return tmp_path


def asked_for(folder: pathlib.Path) -> tuple[Config, list[Unit]]:
    """Return the run of `unmerged` and its units."""
    of_first = finished.read(folder / "cluster" / "0000")
    config = dataclasses.replace(of_first, seeds=(0, 1, 2))
    return config, units.divide(config, folder, 2, 2)


def test_finished_units_of_another_run_are_refused(
    unmerged: pathlib.Path, computing: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the same run are not computed again."""
    flags = ("--learner=online", f"--workdir={unmerged}")
    for others, named in (
        (("--num_seeds=3", "--set=lr=0.9"), "keywords.lr ("),
        (("--num_seeds=3", "--seed=7"), "seeds ("),
        (("--num_seeds=4",), "seeds ("),
    ):
        with pytest.raises(SystemExit):
            computing(*flags, *others)
        error = capsys.readouterr().err
        assert "cluster/0000', which holds a run that differs in " + named in error
        assert error.count("\n") == 1 and not (unmerged / "config.json").exists()
    assert computing(*flags, "--num_seeds=3") == []
    assert workdirs.read_results(unmerged)["seeds"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("part", ["data", "files"])
def test_units_of_other_data_or_code_are_not_merged(
    part: str, unmerged: pathlib.Path, mnist: ImageDataset
) -> None:
    """As where they change while units are computed."""
    (config, parts), path = asked_for(unmerged), unmerged / "cluster" / "0001"
    for name in ("config.json", "state/config.json"):
        found = json.loads((path / name).read_bytes())
        workdirs.write_json(path / name, found | {part: found[part] | {"sha256": "0"}})
    with pytest.raises(ValueError, match=rf"0001', which holds .* differs in ({part}|sha256)"):
        merging.merge(config, mnist, unmerged, parts)


def test_merged_seeds_are_those_asked_for(unmerged: pathlib.Path, mnist: ImageDataset) -> None:
    config, parts = asked_for(unmerged)
    shutil.copy(parts[0].folder / "results.npz", parts[1].folder / "results.npz")
    with pytest.raises(ValueError, match=r"seeds \[0, 0\]; they must be \[0, 1, 2\]"):
        merging.merge(config, mnist, unmerged, parts)


@pytest.mark.parametrize("what", ["unit", "merge"])
def test_finished_runs_are_merged_where_another_fails(
    what: str,
    computing: Cluster,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    merge = merging.merge

    def merge_some(config: Config, *others: Any) -> None:
        if what == "merge" and config.learner == "online":
            raise ValueError("online cannot be merged.")
        merge(config, *others)

    monkeypatch.setattr(merging, "merge", merge_some)
    flags = ("--learner=online,er", "--num_seeds=1", f"--workdir={tmp_path}")
    with pytest.raises(SystemExit):
        computing(*flags, failing=["online"] if what == "unit" else [])
    reason = "a unit of online failed" if what == "unit" else "online cannot be merged"
    assert capsys.readouterr().err.endswith(f"error: {reason}.\n")
    assert workdirs.is_finished(tmp_path / "er") and not (tmp_path / "er" / "cluster").exists()
    assert not workdirs.is_finished(tmp_path / "online")
    assert (tmp_path / "online" / "cluster").exists()
