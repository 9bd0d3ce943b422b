"""The small scripts: presets that build, tables that print, measurements that count right."""

import csv
import dataclasses
import json
import pathlib
import subprocess
import sys
import types
from typing import Any

import pytest
from running import quick_environment

from benchmarks import measure
from experiments import docs, presets, storage_table
from experiments.presets import __main__ as listing
from experiments.presets import grids
from experiments.runs.config import Config
from experiments.runs.making import make_config
from lamaml_jax import LEARNERS, hyper

ROOT = pathlib.Path(measure.__file__).parents[1]

ALL = [
    (benchmark, learner) for benchmark in presets.PRESETS for learner in presets.PRESETS[benchmark]
]


def preset(benchmark: str, learner: str, num_tasks: int | None = None, **changes: Any) -> Config:
    heads = "per_task" if benchmark.startswith("mnist") else None
    return make_config(
        benchmark=benchmark,
        learner=learner,
        seeds=(0,),
        stream={"num_tasks": num_tasks, "heads": heads},
        network={},
        **{"assignments": [], **changes},
    )


@pytest.mark.parametrize(("benchmark", "learner"), ALL)
@pytest.mark.parametrize("semantics", ["released", "paper"])
def test_every_preset_builds(benchmark: str, learner: str, semantics: str) -> None:
    # HAT alone takes longer to build for a hundred heads; three show the same.
    config = preset(benchmark, learner, semantics=semantics, num_tasks=3)
    assert config.needs() <= {"task_id", "task_data", "one_task", "mixed_stream"}
    for name, value in presets.keywords(benchmark, learner, semantics, "single").items():
        assert config.keywords[name] == value


def test_multi_pass_takes_one_glance_and_ten_epochs() -> None:
    for benchmark in ("mnist_rotations", "split_cifar100"):
        for semantics in ("released", "paper"):
            config = preset(benchmark, "c_maml", protocol="multi", semantics=semantics)
            assert (config.keywords["glances"], config.stream["epochs"]) == (1, 10)


# What the CSV calls the keywords of the factories.
KEYWORDS = {
    **{"alpha0": "lr_init", "eta": "lr_lr", "alpha": "inner_lr", "beta": "outer_lr"},
    **{"batch": "batch_size"},
}


def tabulated() -> list[tuple[str, ...]]:
    """Return (benchmark, protocol, learner, keyword, value, source), a learner's own row before that of all."""
    with (pathlib.Path(__file__).parents[1] / "hyperparameters.csv").open() as file:
        rows = list(csv.DictReader(file))
    found: dict[tuple[str, ...], str] = {}
    for row in sorted(rows, key=lambda row: row["learner"] != "all"):
        learners = [row["learner"]]
        if row["learner"] == "all":
            named = presets.names(row["benchmark"], row["protocol"])  # type: ignore[arg-type]
            # Of those that the paper's scripts run.
            others = ("iid", "fs_dgpm", "la_der")
            learners = [name for name in named if name not in others]
        for learner in learners:
            name = "mean_eta" if (learner, row["name"]) == ("meta_bgd", "eta") else row["name"]
            key = (row["benchmark"], row["protocol"], learner, KEYWORDS.get(name, name))
            found[(*key, row["source"])] = row["value"]
    return [(*key[:4], value, key[4]) for key, value in found.items()]


def test_presets_are_the_tabulated_values() -> None:
    """The scripts' value where both exist, but the table's in the text's reading."""
    rows = tabulated()
    scripted = {row[:4] for row in rows if row[5] == "script"}
    checked = {"mnist": 0, "split": 0}
    for benchmark, protocol, learner, keyword, value, source in rows:
        readings = ["paper", "released"] if source == "table" else ["released"]
        if source == "table" and (benchmark, protocol, learner, keyword) in scripted:
            readings = ["paper"]
        for semantics in readings:
            config = preset(benchmark, learner, protocol=protocol, semantics=semantics)
            values = {**config.keywords, **config.stream}
            wanted = value if keyword == "order" else float(value)
            if keyword == "memory_per_task":
                keyword, wanted = "memory", wanted * config.stream["num_tasks"]
            if keyword == "penalty_without_half":
                keyword, wanted = "penalty", 2 * wanted
            if keyword == "batch_size" and source == "mer_script":
                keyword = "examples_per_step"
            if keyword in values or benchmark.startswith("mnist"):
                assert values[keyword] == wanted, (benchmark, protocol, learner, keyword)
                checked[benchmark.partition("_")[0]] += 1
    assert checked["mnist"] > 150 and checked["split"] > 250


def test_presets_are_listed_with_command_and_result(capsys: pytest.CaptureFixture[str]) -> None:
    listing.main()
    printed = capsys.readouterr().out
    for benchmark, learner in ALL:
        assert listing.command(benchmark, learner) in printed
    with presets.MEASURED_RESULTS.open() as file:
        for row in csv.DictReader(file):
            assert f"RA {row['ra_mean']}" in printed and row["bti_mean"] in printed
    assert "--learner=icarl --heads=per_task --protocol=multi" in printed
    assert (
        "multi pass, heads per_task, 5 seeds: took 1.8 minutes on 2 CPU cores; RA 78.71" in printed
    )


def test_example_gradients_are_counted_by_hand() -> None:
    counts = {"la_maml": 5 * (10 + 10 * 20), "er": 10 * 11, "mer": 10 * 5 * 11, "online": 10}
    counts |= {"la_der": counts["la_maml"], "fs_dgpm": 5 * (10 + 2 * 20)}
    for learner, count in counts.items():
        assert measure.gradients_per_batch(preset("mnist_rotations", learner), 9) == count
    reduced = preset("mnist_rotations", "la_maml", assignments=["variance_reduction=0.3"])
    assert measure.gradients_per_batch(reduced, 9) == 2 * counts["la_maml"]


def test_no_grid_has_more_points_than_allowed_and_all_its_settings_are_taken() -> None:
    for learner, points in grids.GRIDS.items():
        assert 1 < len(points) <= grids.MAX_POINTS
        for point in points:
            assert hyper.part_floats(LEARNERS[learner], point)


def run_script(module: str, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(
        command, cwd=ROOT, env=quick_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done


def test_a_script_starts_without_the_libraries_that_it_may_not_need() -> None:
    slow = {"tensorflow_datasets", "scipy.stats", "matplotlib"}
    code = "import sys, lamaml_jax.datasets, experiments.train; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not slow.intersection(loaded)


def test_the_demo_takes_further_flags(tmp_path: pathlib.Path) -> None:
    options = ["--smoke", "--learner=online", "--num_tasks=2", f"--workdir={tmp_path}"]
    printed = run_script("experiments.demo", *options).stdout
    assert "| Online |" in printed and "| La-MAML |" not in printed
    assert str(tmp_path / "task_accuracy.png") in printed


@pytest.mark.slow
def test_scaling_prints_costs_and_how_they_grow(tmp_path: pathlib.Path) -> None:
    axes = ["--axis=memory=50,5000", "--axis=width=4,8"]
    options = ["--learner=er", "--num_seeds=1", "--repeats=1", f"--csv={tmp_path / 'costs.csv'}"]
    done = run_script("benchmarks.scaling", *axes, *options)
    with (tmp_path / "costs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["axis"], row["value"]) for row in rows] == [
        ("memory", "50"),
        ("memory", "5000"),
        ("width", "4"),
        ("width", "8"),
    ]
    assert [int(row["weights"]) for row in rows[2:]] == [785 * 4 + 5 * 14, 785 * 8 + 9 * 18]
    assert all(float(row["ms per update"]) > 0 for row in rows)
    growth = 1e6 * (float(rows[1]["peak memory MB"]) - float(rows[0]["peak memory MB"])) / 4950
    assert growth > 784 * 4  # bytes per slot
    assert "\nmemory: ms per update " in done.stdout and "\nweight: ms per update " in done.stdout


def test_what_is_measured_with_a_head_per_task_is_on_the_stream_asked_for() -> None:
    stream = {"num_tasks": 5, "samples_per_task": 40}
    case = measure.Case("mnist_rotations", "hat", (), {}, 1, 1, None, stream)
    assert stream | {"heads": "per_task"} == {
        name: case.config().stream[name] for name in (*stream, "heads")
    }


def test_scaling_refuses_an_axis_that_it_does_not_know() -> None:
    done = run_script("benchmarks.scaling", "--axis=depth=2,3", status=1)
    assert "axis is 'depth=2,3'; it must start with" in done.stderr


@pytest.mark.slow
def test_throughput_prints_a_table_and_writes_it_as_json(tmp_path: pathlib.Path) -> None:
    options = ["--num_seeds=2", "--repeats=1", f"--json={tmp_path / 'speed.json'}"]
    done = run_script("benchmarks.throughput", "--learner=online,icarl", *options)
    assert "| online | 2 |" in done.stdout and "| icarl | 2 |" in done.stdout
    written = json.loads((tmp_path / "speed.json").read_text())
    assert written["product_rate"]["gflops"] > 0
    for case in written["cases"]:
        low, median, high = (case["updates_per_second"][k] for k in ("min", "median", "max"))
        assert 0 < low <= median <= high
        gradients = {"online": 10, "icarl": 10 + 9 * 10}[case["learner"]]
        per_update = {"online": 10, "icarl": 1}[case["learner"]]
        seconds = case["us_per_example_gradient"] * gradients / per_update / 1e6
        assert seconds * median == pytest.approx(1)


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--nonsense", 2)])
@pytest.mark.parametrize("script", [docs, storage_table])
def test_nothing_is_written_on_a_flag(
    script: types.ModuleType,
    argument: str,
    status: int,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(docs, "pages", lambda: pytest.fail("the pages are written"))
    with pytest.raises(SystemExit) as ended:
        script.main([argument])
    printed = capsys.readouterr()
    assert ended.value.code == status and "usage: experiments." in printed.out + printed.err
    assert not list(tmp_path.iterdir())


def test_storage_is_that_in_the_pages(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage_table.main([str(tmp_path / "storage.csv")])
    assert "| La-MAML | – | 629 | 358 | 0 |" in capsys.readouterr().out
    written = (tmp_path / "storage.csv").read_text()
    assert written.count("\n") == 1 + len(presets.PRESETS["mnist_rotations"])
    assert written == (ROOT / "docs" / "measured" / "storage_rotations.csv").read_text()


def test_values_of_the_paper_are_of_its_own_batches_and_passes() -> None:
    iid = preset("split_cifar100", "iid")
    assert iid.is_standard_stream() and iid.stream["batch_size"] == 32
    for usual, name, value, is_standard in (
        (iid, "batch_size", 10, False),
        (preset("split_cifar100", "er"), "epochs", 10, False),
        (preset("split_cifar100", "er", protocol="multi"), "epochs", 10, True),
        (preset("split_cifar100", "er"), "num_tasks", 3, False),
    ):
        changed = dataclasses.replace(usual, stream={**usual.stream, name: value})
        assert changed.is_standard_stream() == is_standard, name
