"""Sweeps: what shares a program, what is chosen, what is written, and what is refused before anything runs."""

import csv
import json
import pathlib
import types
from typing import Any

import numpy as np
import pytest
from running import run_script, run_train

from experiments import robustness, sweep, time_accuracy, tune
from experiments.presets.grids import GRIDS
from experiments.runs import locks, workdirs
from experiments.sweeps import results
from experiments.sweeps.grid import listed

TINY = ("--packaged_mnist", "--num_tasks=2", "--samples_per_task=20", "--set=hidden=8")
SEEDS = (100, 101)


def measured(ra: list[list[float]], **values: Any) -> results.Sweep:
    """Return what a sweep over lr has measured, BTI and the rest at zero."""
    array = np.array(ra)
    metrics = {name: np.zeros_like(array) for name in ("la", "bti", "fwt")} | {"ra": array}
    points = [(f"0.{i + 1}",) for i in range(len(ra))]
    axes = [listed("lr", [value for (value,) in points])]
    seconds = np.zeros(len(ra))
    return results.Sweep(axes, points, SEEDS, metrics, np.isnan(array), seconds, seconds)


def read_csv(folder: pathlib.Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


# What is measured.


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A sweep over a rate, of which one value diverges."""
    folder = tmp_path_factory.mktemp("sweep")
    run_script(
        sweep,
        *TINY,
        "--learner=online",
        "--grid=lr=0.03,0.1,1e30",
        "--num_seeds=2",
        "--report_best",
        "--report_seeds=1",
        f"--workdir={folder}",
    )
    return folder


def test_a_point_gives_what_a_run_of_its_own_gives(
    swept: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    options = ("--learner=online", "--eval_split=validation", "--eval=needed")
    run_train(
        *TINY, *options, "--seed=100", "--num_seeds=2", "--set=lr=0.1", f"--workdir={tmp_path}"
    )
    alone, among = (workdirs.read_results(f) for f in (tmp_path, swept / "units" / "000"))
    np.testing.assert_array_equal(among["accuracy"][2:4], alone["accuracy"])
    np.testing.assert_array_equal(among["loss"][2:4], alone["loss"])
    assert not np.array_equal(among["accuracy"][:2], alone["accuracy"])


def test_every_point_seed_and_metric_has_a_row(swept: pathlib.Path) -> None:
    rows = read_csv(swept)
    assert len(rows) == 3 * 2 * 4
    assert {(row["lr"], row["seed"]) for row in rows if row["diverged"] == "true"} == {
        ("1e30", "100"),
        ("1e30", "101"),
    }
    assert all((row["value"] == "") == (row["diverged"] == "true") for row in rows)


def test_validation_chooses_and_test_data_report_once(swept: pathlib.Path) -> None:
    best = json.loads((swept / "best.json").read_text())
    means = {
        lr: np.mean(
            [float(r["value"]) for r in read_csv(swept) if (r["lr"], r["metric"]) == (lr, "ra")]
        )
        for lr in ("0.03", "0.1")
    }
    assert best["point"] == {"lr": max(means, key=means.__getitem__)}
    assert best["ra_mean"] == pytest.approx(max(means.values()), abs=1e-3)
    settings = workdirs.read_settings(swept / "best")
    assert settings["stream"]["eval_split"] == "test" and settings["seeds"] == [0]
    assert workdirs.read_settings(swept / "units" / "000")["stream"]["eval_split"] == "validation"
    assert best["report"]["ra_mean"] == workdirs.read_summary(swept / "best")["ra_mean"]  # type: ignore[index]
    assert (swept / "sweep.png").exists()


def test_the_same_command_only_shows_what_is_there(
    swept: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (swept / "units").rglob("*")}
    best = json.loads((swept / "best.json").read_text())
    run_script(
        sweep,
        *TINY,
        "--learner=online",
        "--grid=lr=0.03,0.1,1e30",
        "--num_seeds=2",
        f"--workdir={swept}",
    )
    assert {path: path.stat().st_mtime_ns for path in (swept / "units").rglob("*")} == before
    assert json.loads((swept / "best.json").read_text()) == best, "with what was reported"
    printed = capsys.readouterr().out
    assert printed.index("| 1e30 |") > max(printed.index("| 0.03 |"), printed.index("| 0.1 |"))
    assert "| 1e30 | seeds 100, 101 diverged |" in printed


# What is chosen.


def test_points_at_which_a_seed_diverged_come_last() -> None:
    found = measured([[50.0, 60.0], [90.0, np.nan], [70.0, 70.0], [np.nan, np.nan]])
    assert found.ranking() == [2, 0, 1, 3]
    table = found.table()
    assert table[1] == ["0.3", "70.00 ± 0.00", "0.00 ± 0.00", "0.00 ± 0.00"]
    assert table[3][:2] == ["0.2", "seed 101 diverged"]


def test_single_seed_has_no_spread() -> None:
    found = measured([[50.0], [60.0]])._replace(seeds=(100,))
    assert found.table()[1:] == [["0.2", "60.00", "0.00", "0.00"], ["0.1", "50.00", "0.00", "0.00"]]


def test_where_every_point_diverged_there_is_no_best(tmp_path: pathlib.Path) -> None:
    results.write(tmp_path, measured([[np.nan, 3.0]]))
    best = json.loads((tmp_path / "best.json").read_text())
    assert best == {"point": None, "reason": "a seed diverged at every point"}


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "grid is not given"),
        (
            ["--grid=lr_int=0.1,0.2"],
            "'lr_int' is not a setting of la_maml on mnist_rotations; did you mean lr_init",
        ),
        (["--grid=lr_init=0.1,-1"], "lr_init is -1"),
        (
            ["--grid=glances=1:2:log3"],
            "grid is 'glances=1:2:log3'; its values must be one or more, different",
        ),
        (["--grid=lr_init=0.1,0.2", "--set=lr_init=0.3"], "lr_init is what the grid is over"),
        (["--grid=lr_init=0.1:0.2:lin10001"], "10,001 points, more than 10,000; pass --yes"),
        (["--grid=memory=10:900:log", "--random=8", "--set=memory=5"], "memory is what the grid"),
        (
            ["--grid=lr_init=0.1,0.2", "--report_best", "--seed=3"],
            "seed is 3; it must be 5 or more",
        ),
        (
            ["--grid=lr_init=0.1,0.2", "--report_best", "--eval_split=test"],
            "validation must choose",
        ),
        (["--grid=lr_init=0.1,0.2", "--report_seeds=3"], "report_best is not"),
        (["--grid=eval_split=validation,test"], "points are ranked on the same data"),
        (["--grid=lr_init=0.1:1:log", "--random=4", "--seed=-1"], "seed is -1; it must be in"),
        (["--grid=lr_init=0.1,0.2", f"--workdir={__file__}"], "which is not a folder"),
        (["--grid=lr_init=0.1,0.2", "--learner=er,agem"], "a sweep is of one learner"),
        (["--grid=sparsity=0.1,0.2", "--learner=hat"], "needs to know the task at test"),
        (["--grid=lr_init=0.1,0.2", "more"], "'more' is not a flag"),
    ],
)
def test_a_bad_sweep_is_refused_before_anything_runs(
    arguments: list[str],
    reason: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run_script(sweep, *TINY, f"--workdir={tmp_path / 'sweep'}", *arguments)
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_another_sweep_is_left_alone(
    swept: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (swept / "sweep.csv").read_bytes()
    with pytest.raises(SystemExit):
        run_script(
            sweep,
            *TINY,
            "--learner=online",
            "--grid=lr=0.03,0.2",
            "--num_seeds=2",
            f"--workdir={swept}",
        )
    said = capsys.readouterr().err
    assert "holds another sweep, that differs in" in said
    assert "points ([['0.03'], ['0.1'], ['1e30']], now [['0.03'], ['0.2']])" in said
    assert (swept / "sweep.csv").read_bytes() == before


def test_memory_stays_the_same_in_a_folder(
    swept: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in swept.rglob("*")}
    flags = (*TINY, "--learner=online", "--grid=lr=0.03,0.1,1e30", "--num_seeds=2")
    for size, reason in (
        ("4", "memory_gb is 4; it must stay 8.0"),
        ("inf", "memory_gb is inf; it must be a finite number above 0"),
        ("0", "memory_gb is 0; it must be a finite number above 0"),
    ):
        with pytest.raises(SystemExit):
            run_script(sweep, *flags, f"--memory_gb={size}", f"--workdir={swept}")
        assert reason in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in swept.rglob("*")} == before


def test_folder_of_an_earlier_version_goes_on(
    swept: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = swept / "sweep.json"
    described = json.loads(path.read_text())
    del described["memory_gb"]
    path.write_text(json.dumps(described))
    flags = (*TINY, "--learner=online", "--grid=lr=0.03,0.1,1e30", "--num_seeds=2")
    run_script(sweep, *flags, f"--workdir={swept}")
    assert "| 1e30 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        (tune, ("--learner=iid",)),
        (robustness, ("--learner=c_maml",)),
        (time_accuracy, ("--learner=er",)),
    ],
)
def test_every_sweeping_script_keeps_within_the_memory(
    script: types.ModuleType,
    flags: tuple[str, ...],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "runs"
    with pytest.raises(SystemExit):
        run_script(script, *TINY, *flags, "--memory_gb=0.5", f"--workdir={folder}")
    assert "memory_gb is 0.5; it must be more for" in capsys.readouterr().err
    assert not folder.exists()


# The committed grids.


def test_tuning_refuses_before_any_run(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, reason in (
        (("--learner=agem,icarl",), "icarl, which needs to know the task at test"),
        (("--learner=iid", "--set=lr=1"), "lr is what the grid is over"),
        (("--learner=la_maml",), "'la_maml' is not a learner with a grid"),
    ):
        with pytest.raises(SystemExit):
            run_script(tune, *TINY, f"--workdir={tmp_path / 'runs'}", *arguments)
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_tuning_begins_where_no_other_process_is_at_work_in_any_folder(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locks.hold(tmp_path / "iid"), pytest.raises(SystemExit):
        run_script(tune, *TINY, "--learner=online,iid", f"--workdir={tmp_path}")
    assert f"workdir is '{tmp_path / 'iid'}', where another process" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json")), "not of the first learner either"


@pytest.mark.slow
def test_tuning_runs_every_point_of_the_grid_on_other_seeds(tmp_path: pathlib.Path) -> None:
    run_script(
        tune,
        *TINY,
        "--learner=iid",
        "--num_seeds=1",
        "--set=clip_norm=2.0",
        f"--workdir={tmp_path}",
    )
    lrs = [float(row["lr"]) for row in read_csv(tmp_path / "iid") if row["metric"] == "ra"]
    assert lrs == [point["lr"] for point in GRIDS["iid"]]
    settings = workdirs.read_settings(tmp_path / "iid" / "units" / "000")
    assert settings["seeds"] == [100] and settings["keywords"]["clip_norm"] == 2.0
    assert settings["stream"]["eval_split"] == "validation"
