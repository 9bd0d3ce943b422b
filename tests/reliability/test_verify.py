"""The promise that a stopped run goes on to the same bits, as users can check it on their own run."""

import os
import pathlib
import shutil
import signal
from typing import Any

import numpy as np
import pytest
from running import run_script, run_train

from experiments import verify
from experiments.runs import metric_lines
from lamaml_jax import checkpoint
from lamaml_jax.training import saving


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("run")
    run_train("--packaged_mnist", "--smoke", "--learner=la_er", f"--workdir={workdir}")
    return workdir


def test_a_runs_last_task_is_made_again_to_the_same_bits(
    run: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    run_script(verify, str(run), "--packaged_mnist")
    printed = capsys.readouterr().out
    assert "going on after 2 tasks" in printed and "The same bits" in printed
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("what", ["results", "state"])
def test_one_other_bit_is_found(what: str, run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    last = checkpoint.saved(run / saving.CHECKPOINTS)[-1].name
    path = other / {"results": saving.RESULTS, "state": f"{saving.CHECKPOINTS}/{last}"}[what]
    arrays = saving.read_arrays(path)
    name = next(n for n in arrays if n in ("accuracy", "['state'].params['Dense_0']['bias']"))
    arrays[name] = np.nextafter(arrays[name], np.float32(2))
    with path.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(SystemExit, match="not the same: "):
        run_script(verify, str(other), "--packaged_mnist")


def test_a_run_without_states_is_compared_as_far_as_it_is_there(
    run: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(run, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / saving.CHECKPOINTS)
    assert verify._differing(tmp_path / "other", run) == []
    (tmp_path / "other" / "metrics.jsonl").write_bytes(b"")
    assert verify._differing(tmp_path / "other", run) == ["metrics.jsonl"]


def test_a_process_that_ends_by_itself_was_not_killed(
    run: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As where it finds no data."""
    nowhere = f"--data_dir={tmp_path / 'nowhere'}"
    monkeypatch.setattr("sys.argv", ["verify", str(run), nowhere, "--kills=1"])
    with pytest.raises(SystemExit) as ended:
        run_script(verify, str(run), "--packaged_mnist", "--kills=1")
    output = capsys.readouterr()
    assert ended.value.code == 2 and "killed after" not in output.out
    assert output.err.startswith("error: the run made again ended by itself with status 2: ")
    assert "nowhere" in output.err


def test_a_signal_keeps_nothing_of_the_repetition(
    run: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(metric_lines, "write", asked)
    with pytest.raises(SystemExit) as ended:
        run_script(verify, str(run), "--packaged_mnist")
    error = capsys.readouterr().err
    assert ended.value.code == 75 and "nothing of the repetition is kept" in error
    assert "the state is kept in" not in error


@pytest.mark.slow
def test_a_run_is_made_again_in_pieces(
    run: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(run), "--packaged_mnist", "--kills=2"]
    monkeypatch.setattr("sys.argv", ["verify", *arguments])
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    run_script(verify, *arguments)
    printed = capsys.readouterr().out
    assert "killed after" in printed and "The same bits" in printed
