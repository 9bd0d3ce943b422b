"""The comparison of two runs: what differs, and which number is the first."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from running import run_train

from experiments import diff
from experiments.process import console
from experiments.reporting import differences
from experiments.runs import workdirs

TINY = ("--learner=online", "--packaged_mnist", "--smoke", "--num_tasks=2", "--samples_per_task=20")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    """Runs that differ in a learning rate and in the first seed."""
    root = tmp_path_factory.mktemp("runs")
    run_train(*TINY, f"--workdir={root / 'a'}")
    run_train(*TINY, f"--workdir={root / 'b'}", "--set=lr=0.1", "--seed=1")
    return root / "a", root / "b"


def status(*arguments: object) -> int:
    with console.plain_errors():
        return diff.main([str(argument) for argument in arguments])


def test_copy_is_the_same(
    runs: tuple[pathlib.Path, pathlib.Path],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(runs[0], tmp_path / "copy")
    assert status(runs[0], tmp_path / "copy") == 0
    parts = ("configuration", "environment", "data", "results")
    assert capsys.readouterr().out == "".join(f"{part}: the same\n" for part in parts)


def test_differing_runs(
    runs: tuple[pathlib.Path, pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*runs) == 1
    lines = capsys.readouterr().out.splitlines()
    a, b = map(workdirs.read_results, runs)
    step, name = min(
        (int(np.argmax(a[name][1, 0] != b[name][0, 0])), name) for name in ("loss", "gradient_norm")
    )
    values = " | ".join(f"{value:.9g}" for value in (a[name][1, 0, step], b[name][0, 0, step]))
    assert lines[0] == "configuration: differs"
    assert {"  seeds: [0, 1] | [1, 2]", "  keywords.lr: 0.0003 | 0.1"} <= set(lines)
    assert {"environment: the same", "data: the same", "results: differs"} <= set(lines)
    assert f"  first: in training on task 1, seed 1: {name}[{step}] is {values}" in lines


def results(seeds: list[int] | None = None, num_tasks: int = 3) -> dict[str, np.ndarray]:
    """Return arrays as a run writes them, the same for the same seed."""
    seeds = [0, 1] if seeds is None else seeds
    shapes = {"accuracy": (num_tasks + 1, num_tasks), "loss": (num_tasks, 5)}
    arrays = {
        name: np.stack([np.random.default_rng(seed).uniform(size=shape) for seed in seeds])
        for name, shape in shapes.items()
    }
    return {"seeds": np.array(seeds), "diverged": np.zeros(len(seeds), bool), **arrays}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("accuracy", (1, 0, 2))], "before training, seed 1: accuracy[2]"),
        ([("accuracy", (0, 3, 1)), ("loss", (1, 2, 4))], "after task 3, seed 0: accuracy[1]"),
        ([("accuracy", (1, 2, 1)), ("loss", (1, 2, 4))], "after task 2, seed 1: accuracy[1]"),
        ([("accuracy", (0, 1, 0)), ("loss", (0, 0, 3))], "in training on task 1, seed 0: loss[3]"),
        ([("loss", (1, 1, 0)), ("loss", (0, 1, 2))], "in training on task 2, seed 0: loss[2]"),
    ],
)
def test_first_number_is_the_earliest(
    changes: list[tuple[str, tuple[int, int, int]]], expected: str
) -> None:
    changed = results()
    for name, index in changes:
        changed[name][index] += 1
    first, *counts = differences.of_results(results(), changed)
    if expected.startswith(
        "in training on task 3"
    ):  # of the lower seed, though it is measured later
        expected = "after task 3, seed 0: accuracy[1]"
    assert first.startswith(f"first: {expected} is ")
    assert [line.partition(":")[0] for line in counts] == sorted({name for name, _ in changes})
    assert all("by at most 1" in line for line in counts)


def test_runs_are_compared_as_far_as_both_go() -> None:
    longer = results([2, 1, 0], num_tasks=4)
    shorter = {name: array.copy() for name, array in longer.items()}
    shorter = {
        "seeds": longer["seeds"][1:],
        "diverged": longer["diverged"][1:],
        "accuracy": longer["accuracy"][1:, :4, :3],
        "loss": longer["loss"][1:, :3],
    }
    assert differences.of_results(longer, shorter) == [
        "seeds: 2 1 0 | 1 0",
        "accuracy: of shape [5, 4] | [4, 3] for each seed",
        "loss: of shape [4, 5] | [3, 5] for each seed",
    ]


def test_what_one_run_has_alone_is_counted() -> None:
    sparse = {**results(), "gate_rate": np.zeros((2, 3, 5))}
    sparse["accuracy"][0, 2, 0] = np.nan
    assert differences.of_results(results(), sparse) == [
        "gate_rate: only in B",
        "accuracy: 1 of 24 numbers are in A only",
    ]
    assert differences.of_results(sparse, sparse) == []


@pytest.mark.parametrize("num_evaluations", [1, 5])  # fewer and more than seeds
def test_evaluations_inside_tasks_are_at_the_same_batches_for_all_seeds(
    num_evaluations: int,
) -> None:
    first = {**results(), "inside_batches": np.arange(1, 1 + num_evaluations)}
    assert differences.of_results(first, first) == []
    second = {**first, "inside_batches": first["inside_batches"].copy()}
    second["inside_batches"][-1] = 9
    *same, last = map(str, first["inside_batches"])
    expected = f"inside_batches: {' '.join([*same, last])} | {' '.join([*same, '9'])}"
    assert differences.of_results(first, second) == [expected]


def test_evaluations_after_as_many_batches_of_a_task_are_compared() -> None:
    values = np.random.default_rng(0).uniform(size=(2, 3, 6, 3))
    every = {**results(), "inside_accuracy": values, "inside_batches": np.arange(1, 7)}
    others = [1, 3, 5]  # after 2, 4 and 6 batches
    sparse = {
        **every,
        "inside_accuracy": values[:, :, others].copy(),
        "inside_batches": np.arange(2, 8, 2),
    }
    batches = "inside_batches: 1 2 3 4 5 6 | 2 4 6"
    assert differences.of_results(every, sparse) == [batches]
    sparse["inside_accuracy"][1, 2, 0, 1] += 1
    assert "inside_accuracy: 1 of 54 numbers differ, by at most 1" in differences.of_results(
        every, sparse
    )


def test_points_of_a_sweep_are_compared_one_by_one() -> None:
    first = results([0, 1, 0, 1])
    second = {name: array.copy() for name, array in first.items()}
    second["loss"][2, 1, 1] = 9
    line, _ = differences.of_results(first, second)
    assert line.startswith("first: in training on task 2, seed 0: loss[1] is ")
    more = results([0, 1, 2, 0, 1, 2])
    for name in set(more) - {"seeds"}:
        more[name][[0, 1, 3, 4]] = second[name]
    assert differences.of_results(second, more) == ["seeds: 0 1 0 1 | 0 1 2 0 1 2"]
    more["loss"][3, 1, 1] += 1
    line, _, count = differences.of_results(second, more)
    assert (
        line.startswith("first: in training on task 2, seed 0: loss[1] is 9 ") and " 1 of " in count
    )


@pytest.mark.parametrize("case", ["nothing", "unfinished", "damaged"])
def test_bad_input_is_one_sentence(
    runs: tuple[pathlib.Path, pathlib.Path],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    expected = "results.npz is missing or damaged"
    if case == "nothing":
        other, expected = tmp_path / "nowhere", "which holds no run"
    elif case == "unfinished":
        (other / "summary.json").unlink()
        expected = "is not finished"
    else:
        (other / "results.npz").write_bytes(b"PK")
    with pytest.raises(SystemExit) as ended:
        status(runs[0], other)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: ") and expected in output.err


def test_changed_files_of_a_users_are_another_configuration(
    runs: tuple[pathlib.Path, pathlib.Path],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder, digest in zip(folders, ("0", "1"), strict=True):
        shutil.copytree(runs[0], folder)
        found = json.loads((folder / "config.json").read_text())
        found["files"] = {"own.py:method": digest}
        (folder / "config.json").write_text(json.dumps(found))
    assert status(*folders) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "configuration: differs",
        "  files.own.py:method: 0 | 1",
        "environment: the same",
    ]


def test_images_from_elsewhere_are_the_same_data(runs: tuple[pathlib.Path, pathlib.Path]) -> None:
    found = json.loads((runs[0] / "config.json").read_text())
    moved = {**found, "data": {**found["data"], "source": "elsewhere"}}
    assert differences.of_data(found, moved) == []
    others = {**found, "data": {**found["data"], "sha256": "0"}}
    assert differences.of_data(found, others) == [f"data.sha256: {found['data']['sha256']} | 0"]
