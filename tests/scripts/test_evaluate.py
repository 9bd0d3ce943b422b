"""A finished run's learner, evaluated anew by the script."""

import pathlib
import shutil
import types

import numpy as np
import pytest
from running import run_script, run_train

from experiments import evaluate, sweep, verify
from lamaml_jax import load

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("run")
    run_train("--packaged_mnist", "--smoke", "--learner=la_er", f"--workdir={workdir}")
    return workdir


def test_the_last_row_comes_out_digit_for_digit(
    run: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_script(evaluate, str(run), "--packaged_mnist")
    printed = capsys.readouterr().out
    last = 100 * np.load(run / "results.npz")["accuracy"][:, -1]
    for task, of_seeds in enumerate(last.T, start=1):
        assert f"| {task} | {of_seeds[0]:.2f} | {of_seeds[1]:.2f} |" in printed
    assert "digit for digit" in printed


def test_the_points_of_a_sweep_are_told_apart(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--packaged_mnist", "--num_tasks=2", "--samples_per_task=20", "--learner=online"
    run_script(sweep, *small, "--grid=lr=0.1,0.2", "--num_seeds=1", f"--workdir={tmp_path}")
    capsys.readouterr()
    run_script(evaluate, str(tmp_path / "units" / "000"), "--packaged_mnist")
    assert "| task | lr=0.1 seed 100 | lr=0.2 seed 100 |" in capsys.readouterr().out


def test_what_differs_is_said(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    results = dict(np.load(other / "results.npz"))
    results["accuracy"][1, -1, 2] += 0.25
    np.savez(other / "results.npz", **results)
    with pytest.raises(SystemExit, match="seed 1 had .* on task 3"):
        run_script(evaluate, str(other), "--packaged_mnist")


def test_a_scripts_run_is_loaded_in_python(run: pathlib.Path) -> None:
    result = load(run)
    assert result.plan.learner.__name__ == "la_er" and result.accuracy.shape == (2, 4, 3)
    rates = result.state.lrs["Dense_0"]["kernel"]
    assert rates.shape == (2, 784, 100) and not np.array_equal(rates[0], rates[1])


@pytest.mark.parametrize("script", [evaluate, verify])
@pytest.mark.parametrize(
    "flag", ["eval_split=validation", "set=lr=1", "benchmark=x", "devices=2", "seed=0", "dry_run"]
)
def test_a_finished_run_takes_no_flags_of_runs(
    script: types.ModuleType, flag: str, run: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_script(script, str(run), "--packaged_mnist", f"--{flag}")
    error = capsys.readouterr().err
    assert error.startswith(f"error: {flag.partition('=')[0]} is given; a finished run is taken")
    assert "only data_dir or packaged_mnist" in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("nowhere",)])
def test_one_finished_run_is_asked_for(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_script(evaluate, *arguments)
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1
