"""Which runs are collected into the committed results, and what of them."""

import csv
import dataclasses
import json
import pathlib
from typing import Any

import pytest
from collecting import described, finished, preset, summary_of

from experiments import collect, presets
from experiments.presets import __main__ as listing


def test_only_runs_of_a_preset_are_collected(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="holds no finished run"):
        collect.main([str(tmp_path)])
    before = presets.MEASURED_RESULTS.read_bytes()
    settings = dataclasses.asdict(preset("mnist_rotations", "er", 0, num_tasks=3, heads="per_task"))
    (tmp_path / "config.json").write_text(described(settings))
    (tmp_path / "summary.json").write_text(json.dumps(summary_of(settings, data="mnist_subset")))
    with pytest.raises(ValueError, match="differs in num_tasks, seeds, data"):
        collect.main([str(tmp_path)])
    settings["seeds"], settings["stream"]["num_tasks"] = [0, 1, 2, 3, 4], 20
    settings["stream"]["heads"], settings["network"]["precision"] = "shared", "bfloat16"
    (tmp_path / "config.json").write_text(described(settings))
    with pytest.raises(ValueError, match="it differs in precision, data"):
        collect.main([str(tmp_path)])
    assert presets.MEASURED_RESULTS.read_bytes() == before


def test_a_run_that_differs_in_anything_that_moves_its_numbers_is_no_presets() -> None:
    config = preset("mnist_rotations", "er", 0, 1, 2, 3, 4)
    own = "net.py:net"
    changes: dict[str, dict[str, Any]] = {
        "stream_seed": {"stream_seed": 7},
        "points": {"points": ({"lr": 0.1}, {"lr": 0.2})},
        "semantics": {"semantics": "paper"},
        "network": {"architecture": own},
        "learner": {"learner": own},
        "benchmark": {"benchmark": own},
        "lr": {"keywords": {**config.keywords, "lr": 0.7}},
        "filters": {"network": {**config.network, "filters": (8,)}},
    }
    for what, changed in changes.items():
        assert collect.differences(dataclasses.replace(config, **changed), "mnist") == [what]
    assert collect.differences(dataclasses.replace(config, eval="needed"), "mnist") == []


def test_a_collected_run_says_which_seeds_diverged(
    tmp_path: pathlib.Path, gathered: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = preset("mnist_rotations", "la_er", 0, 1, 2, 3, 4, heads="per_task")
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    (tmp_path / "config.json").write_text(described(settings))
    summary = summary_of(settings, data="mnist", diverged_seeds=[1, 4])
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    collect.main([str(tmp_path)])
    capsys.readouterr()
    listing.main()
    assert "5 seeds (diverged: 1 4): took 1.5 minutes" in capsys.readouterr().out


def test_a_run_from_before_a_keyword_is_what_its_default_gives(
    tmp_path: pathlib.Path, gathered: pathlib.Path
) -> None:
    config = preset("split_cifar100", "la_maml", 0)
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    del settings["keywords"]["projection_directions"]
    del settings["stream"]["augmentation"], settings["network"]["precision"]
    (tmp_path / "config.json").write_text(described(settings))
    of_images = {"training_images_per_task": 2250, "evaluation_images_per_task": 500}
    summary = summary_of(settings, data="cifar100", num_seeds=1, **of_images)
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    collect.main([str(tmp_path)])
    settings["keywords"]["memory"] = 100
    (tmp_path / "config.json").write_text(described(settings))
    with pytest.raises(ValueError, match="it differs in memory"):
        collect.main([str(tmp_path)])


def test_runs_that_differ_in_their_seeds_are_one_row(
    tmp_path: pathlib.Path, gathered: pathlib.Path
) -> None:
    first, others = finished(tmp_path / "0", [56.0], 0), finished(tmp_path / "1", [59.0, 62.0], 1)
    with pytest.raises(ValueError, match="is not a run of the preset; it differs in seeds"):
        collect.main([others])
    collect.main([others, first])
    (row,) = csv.DictReader(gathered.read_text().splitlines())
    assert (row["num_seeds"], row["ra_mean"], row["ra_std"]) == ("3", "59.00", "2.45")
    assert (row["la_mean"], row["bti_mean"]) == ("50.45", "8.55")
    assert row["minutes"] == "3.0"  # of both


def test_fewer_seeds_take_the_place_of_no_more(
    tmp_path: pathlib.Path, gathered: pathlib.Path
) -> None:
    collect.main([finished(tmp_path / "two", [56.0, 58.0], 0)])
    before = gathered.read_bytes()
    one = finished(tmp_path / "one", [61.0], 0)
    with pytest.raises(ValueError, match=r"with 1 seed, and measured.csv has 2; remove its row by"):
        collect.main([one])
    assert gathered.read_bytes() == before
    collect.main([finished(tmp_path / "three", [56.0, 58.0, 60.0], 0)])
    assert "split_cifar100,single,per_task,la_maml,3,,58.00" in gathered.read_text()


def test_minutes_are_of_cpu_cores(tmp_path: pathlib.Path, gathered: pathlib.Path) -> None:
    for name, device, seeds, minutes in (
        ("one", "1 x NVIDIA H100, cuda 13000", [56.0], ""),
        ("two", "several x cpu, cpu", [56.0], "1.5"),
        ("three", "1 x NVIDIA H100, cuda 13000", [57.0], "1.5"),
        ("four", "1 x NVIDIA H100, cuda 13000", [56.0, 58.0], ""),
    ):
        folder = finished(tmp_path / name, seeds, 0)
        description = json.loads((tmp_path / name / "config.json").read_text())
        changed = json.dumps({**description, "device": device})
        (tmp_path / name / "config.json").write_text(changed)
        collect.main([folder])
        (row,) = csv.DictReader(gathered.read_text().splitlines())
        assert (name, row["minutes"]) == (name, minutes)
        assert row["ra_mean"] == f"{sum(seeds) / len(seeds):.2f}"
