"""The paper's tables: which of their runs are made, in which order, what goes on, and what is said in the end."""

import pathlib
import re
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from running import run_script, run_train

from experiments import tables
from experiments.runs import dry_run, locks
from experiments.tabling import work
from lamaml_jax import checkpoint

pytestmark = pytest.mark.usefixtures("quick_compile")

TINY = ("--num_tasks=2", "--samples_per_task=20", "--set=hidden=8")
PERMUTED = ("--benchmark=mnist_permutations", *TINY)
OF_TABLE = ("--table=mnist", *PERMUTED)
TABLE = (*OF_TABLE, "--packaged_mnist")
ONLINE, ER = "mnist_permutations_single_online", "mnist_permutations_single_er"


@pytest.fixture(autouse=True)
def brief_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "PROBE_SECONDS", 0.01)


def files(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def accuracy(folder: pathlib.Path) -> np.ndarray:
    with np.load(folder / "results.npz") as results:
        return results["accuracy"]


def listed(capsys: pytest.CaptureFixture[str], workdir: pathlib.Path, *more: str) -> str:
    """Return the list of Online's runs, for which no data are needed."""
    capsys.readouterr()
    run_script(tables, *OF_TABLE, "--learner=online", f"--workdir={workdir}", "--list", *more)
    return capsys.readouterr().out


def test_a_table_is_run_cheapest_first_and_only_once(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (*TABLE, "--learner=er,online", "--num_seeds=1", f"--workdir={tmp_path}")
    slow = ("--set=glances=300",)  # of ER alone
    run_script(tables, *command, *slow)
    out, progress = capsys.readouterr()
    assert "probing er on mnist_permutations" in progress
    assert progress.index(f"[1 of 2] {ONLINE}, about") < progress.index(f"[2 of 2] {ER}, about")
    assert re.search(r"mnist_permutations, single pass\n\n\| learner .*paper's RA", out)
    assert re.search(r"\| ER \| 1 \| \d+\.\d\d \|.*\n\| Online \| 1 \| \d+\.\d\d \|", out)
    assert "differ from the committed runs in num_tasks, samples_per_task, hidden" in out
    before = files(tmp_path)
    run_script(tables, *command, *slow)
    again, progress = capsys.readouterr()
    assert again == out and "[1 of" not in progress and "probing" not in progress
    assert files(tmp_path) == before


def test_a_run_that_train_has_made_counts_and_more_seeds_go_on_from_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_train = ("--packaged_mnist", *PERMUTED, "--learner=online")
    run_train(*of_train, "--num_seeds=1", f"--workdir={tmp_path / ONLINE}")
    before = files(tmp_path)
    assert f"| {ONLINE} | done, 1 seed |" in listed(capsys, tmp_path, "--num_seeds=1")
    assert f"| {ONLINE} | seeds 1, 2 missing |" in listed(capsys, tmp_path, "--num_seeds=3")
    command = (*TABLE, "--learner=online", f"--workdir={tmp_path}")
    run_script(tables, *command, "--num_seeds=3")
    shown = capsys.readouterr().out
    assert before.items() <= files(tmp_path).items()
    run_train(*of_train, "--num_seeds=3", f"--workdir={tmp_path / 'whole'}", "--eval=needed")
    (ra,) = re.findall(r"\| Online \| ([^|]*) \|", capsys.readouterr().out)
    assert f"| Online | 3 | {ra} |" in shown
    whole, last = accuracy(tmp_path / "whole"), [0, -1]  # rows that both evaluate
    np.testing.assert_array_equal(whole[:1, last], accuracy(tmp_path / ONLINE)[:, last])
    np.testing.assert_array_equal(whole[1:], accuracy(tmp_path / f"{ONLINE}_seeds_1_to_2"))


def test_seeds_that_another_process_has_run_meanwhile_are_not_all_that_were_asked_for(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = work.perform
    of_train = ("--packaged_mnist", *PERMUTED, "--learner=online", "--num_seeds=1")

    def meanwhile(*given: Any) -> work.Outcome:
        run_train(*of_train, f"--workdir={tmp_path / ONLINE}")
        return perform(*given)

    monkeypatch.setattr(work, "perform", meanwhile)
    run_script(tables, *TABLE, "--learner=online", "--num_seeds=2", f"--workdir={tmp_path}")
    assert len(accuracy(tmp_path / ONLINE)) == 1
    assert len(accuracy(tmp_path / f"{ONLINE}_seeds_1_to_1")) == 1


def test_what_was_stopped_goes_on(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = checkpoint.save

    def ask_to_stop(directory: pathlib.Path, place: Any, tree: Any) -> None:
        save(directory, place, tree)
        signal.raise_signal(signal.SIGTERM)

    of_train = ("--packaged_mnist", *PERMUTED, "--learner=online", "--num_seeds=1", "--eval=needed")
    run_train(*of_train, f"--workdir={tmp_path / 'whole'}")
    command = (*TABLE, "--learner=online", "--num_seeds=1", f"--workdir={tmp_path}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", ask_to_stop)
        with pytest.raises(SystemExit) as stopped:
            run_script(tables, *command)
    assert stopped.value.code == 75
    assert f"| {ONLINE} | begun, 1 of 2 tasks |" in listed(capsys, tmp_path, "--num_seeds=1")
    run_script(tables, *command)
    np.testing.assert_array_equal(accuracy(tmp_path / ONLINE), accuracy(tmp_path / "whole"))


def test_what_fails_diverges_or_is_refused_is_named_and_stops_nothing_else(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (*TABLE, "--learner=online,ewc,er", "--num_seeds=2", f"--workdir={tmp_path}")
    (tmp_path / "mnist_permutations_single_ewc").write_text("no folder")
    with locks.hold(tmp_path / ER), pytest.raises(SystemExit) as ended:
        run_script(tables, *command, "--set=lr=1e30")
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert re.search(
        r"Refused: mnist_permutations_single_ewc: .* which is not a folder\.\n", printed
    )
    assert re.search(rf"Failed: {ER}: .* where another process is at work", printed)
    assert f"Diverged: {ONLINE} (seed 0, 1)" in printed
    assert "| Online | 2 | – | – | – |" in printed and "| ER | – | – | – | – |" in printed


def test_the_script_lists_a_table_without_data_from_any_folder(tmp_path: pathlib.Path) -> None:
    script = pathlib.Path(tables.__file__)
    command = [sys.executable, str(script), "--table=tinyimagenet", "--list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "| split_tiny_imagenet_single_mer | " in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--table=cifar",), "'cifar' is not a table; did you mean cifar100?"),
        ((), "table is not given; it must be one of mnist, cifar100, tinyimagenet."),
        (
            ("--table=mnist", "--protocol=multi"),
            "protocol is 'multi'; the table mnist is of the single pass.",
        ),
        (
            ("--table=mnist", "--benchmark=split_cifar100"),
            "'split_cifar100' is not a benchmark of the table mnist",
        ),
        (
            ("--table=tinyimagenet", "--learner=la_der"),
            "learner is 'la_der'; on split_tiny_imagenet",
        ),
        (("--table=tinyimagenet", "--learner=hatt"), "'hatt' is not a learner; did you mean hat?"),
        (("--table=cifar100",), "data_dir is not given; it must be a folder for cifar100."),
        (("--table=cifar100", "--packaged_mnist"), "split_cifar100 needs cifar100 in a data_dir"),
        (("--table=cifar100", "--heads=shared"), "heads is 'shared'; split_cifar100 has no heads"),
    ],
)
def test_what_cannot_be_is_named_in_one_sentence(
    arguments: tuple[str, ...],
    sentence: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_script(tables, *arguments, f"--workdir={tmp_path}")
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and sentence in line
