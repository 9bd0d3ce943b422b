"""--eval_every: what is measured inside tasks, that nothing else changes, and what is refused."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from photographs import photographs, small
from running import run_train, users_environment

from experiments import train
from experiments.reporting import figures
from experiments.runs import runner, workdirs
from lamaml_jax.training import recording

ROOT = pathlib.Path(train.__file__).parents[1]
TINY = ("--learner=la_er", "--packaged_mnist", "--smoke", "--samples_per_task=45")  # 5 batches
INSIDE = {"inside_accuracy", "inside_batches", "inside_progress"}
Runs = dict[int | None, pathlib.Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The same run without evaluations inside tasks, with one in each, and with one after every batch."""
    root = tmp_path_factory.mktemp("runs")
    found: Runs = {None: root / "none", 3: root / "few", 1: root / "many"}
    for every, workdir in found.items():
        flags = () if every is None else (f"--eval_every={every}",)
        run_train(*TINY, *flags, f"--workdir={workdir}")
    return found


@pytest.mark.parametrize("every", [3, 1])
def test_everything_else_is_the_same_bits(runs: Runs, every: int) -> None:
    plain, inside = (workdirs.read_results(runs[which]) for which in (None, every))
    assert set(inside) == set(plain) | INSIDE
    for name, array in plain.items():
        np.testing.assert_array_equal(inside[name], array, err_msg=name)
    lines = [(runs[which] / "metrics.jsonl").read_text() for which in (None, every)]
    assert lines[0] == lines[1]


def test_tasks_seen_are_evaluated_inside_each_task(runs: Runs) -> None:
    few, many = (workdirs.read_results(runs[which]) for which in (3, 1))
    assert few["inside_batches"].tolist() == [3] and many["inside_batches"].tolist() == [1, 2, 3, 4]
    assert many["inside_accuracy"].shape == (2, 3, 4, 3)
    seen = np.broadcast_to(np.tri(3, dtype=bool)[:, None], (2, 3, 4, 3))
    np.testing.assert_array_equal(np.isfinite(many["inside_accuracy"]), seen)
    np.testing.assert_array_equal(few["inside_accuracy"], many["inside_accuracy"][:, :, 2:3])
    # What is measured moves from the end of a task to that of the next.
    curve = figures.inside_curves(
        many["accuracy"], many["inside_accuracy"], many["inside_progress"]
    )
    assert len(np.unique(curve[1][0, 1, :, 0])) > 3


def test_summary_and_pictures_show_it(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    run_train(*TINY, "--eval_every=1", f"--workdir={runs[1]}")
    printed = capsys.readouterr().out
    summary = json.loads((runs[1] / "summary.json").read_text())
    cells = (f"{summary[f'{n}_mean']:.2f} ±" for n in ("min_acc", "wc_acc", "stability_gap"))
    assert all(cell in printed for cell in cells)
    results = workdirs.read_results(runs[1])
    accuracy, inside = results["accuracy"].astype(float), results["inside_accuracy"].astype(float)
    drops = [
        np.mean([accuracy[:, t, i] - inside[:, t, :, i].min(axis=1) for i in range(t)])
        for t in (1, 2)
    ]
    assert summary["stability_gap_mean"] == pytest.approx(100 * np.mean(drops))
    assert "stability_gap_mean" not in json.loads((runs[None] / "summary.json").read_text())
    assert (runs[1] / "inside_tasks.png").stat().st_size > 10_000
    assert not (runs[None] / "inside_tasks.png").exists()


class _Killed(Exception):
    pass


def test_run_killed_inside_a_task_begins_it_again(
    runs: Runs, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = recording.note_part

    def note_or_die(record: Any, log: Any, task: int) -> None:
        if task == 1:
            raise _Killed
        note(record, log, task)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(recording, "note_part", note_or_die)
        run_train(*TINY, "--eval_every=3", f"--workdir={tmp_path}")
    run_train(*TINY, "--eval_every=3", f"--workdir={tmp_path}")
    whole, resumed = workdirs.read_results(runs[3]), workdirs.read_results(tmp_path)
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)


def test_seeds_that_diverge_are_left_out(tmp_path: pathlib.Path) -> None:
    run_train(
        *("--learner=online", "--packaged_mnist", "--smoke", "--samples_per_task=20"),
        *("--set=lr=1e30", "--eval_every=1", f"--workdir={tmp_path}"),
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["diverged_seeds"] == [0, 1] and summary["stability_gap_mean"] is None
    assert np.isnan(workdirs.read_results(tmp_path)["inside_accuracy"]).all()


@pytest.mark.usefixtures("quick_compile")
def test_in_many_passes_a_task_is_as_long_as_all_of_them(tmp_path: pathlib.Path) -> None:
    """And of iCaRL: a task that has not ended has no exemplars, so its first class is predicted of all."""
    config = small("icarl", stream={"num_tasks": 2, "epochs": 3}, eval_every=4)
    runner.run(config, photographs(), tmp_path)
    results = workdirs.read_results(tmp_path)
    assert results["inside_batches"].tolist() == [4, 8, 12]  # of 15, five in a pass
    inside = results["inside_accuracy"]
    for task in (0, 1):
        np.testing.assert_allclose(inside[:, task, :, task], 1 / 5)
    assert np.isfinite(inside[:, 1, :, 0]).all()
    assert results["accuracy"][:, 1, 0].min() > 1 / 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--eval_every=0"], "eval_every is 0; it must be an integer >= 1"),
        (["--eval_every=100"], "eval_every is 100; it must be below 100, the batches of a task"),
        (["--eval_every=5", "--learner=er,iid"], "iid learns all tasks at once"),
        (["--eval_every=5", "--eval=needed"], "eval must be all or seen"),
    ],
)
def test_bad_input_gets_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run_train("--packaged_mnist", f"--workdir={tmp_path / 'run'}", *arguments)
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and sentence in error and "\n" not in error
    assert not (tmp_path / "run").exists()


def test_other_evaluations_are_another_run(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_train(*TINY, "--eval_every=2", f"--workdir={runs[3]}")
    assert "differs in eval_every (3, now 2)" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["la_maml", "gem", "hat", "ucb"])
def test_bits_are_the_same_as_users_compile(learner: str, tmp_path: pathlib.Path) -> None:
    for flag in ("--eval=all", "--eval_every=1"):
        command = [sys.executable, "-m", "experiments.train", *TINY, f"--learner={learner}", flag]
        subprocess.run(
            [*command, "--heads=per_task", f"--workdir={tmp_path / flag}"],
            cwd=ROOT,
            env=users_environment(),
            capture_output=True,
            check=True,
        )
    plain, inside = (workdirs.read_results(tmp_path / f) for f in ("--eval=all", "--eval_every=1"))
    for name, array in plain.items():
        np.testing.assert_array_equal(inside[name], array, err_msg=name)
