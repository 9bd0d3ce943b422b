"""What tells the runs of a page apart."""

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from running import run_train

from experiments.reporting import drawing, page
from experiments.reporting.page import reading, sections

Change = Callable[[pathlib.Path], None]


def in_json(file: str, *place: str, value: Any) -> Change:
    def change(folder: pathlib.Path) -> None:
        found = json.loads((folder / file).read_text())
        of = found
        for name in place[:-1]:
            of = of[name]
        of[place[-1]] = value
        (folder / file).write_text(json.dumps(found))

    return change


def shorten(folder: pathlib.Path) -> None:
    with np.load(folder / "results.npz") as results:
        of_two = {**results, "accuracy": results["accuracy"][:, :3, :2]}
    np.savez(folder / "results.npz", **of_two)


CHANGES = {
    "protocol": (in_json("summary.json", "protocol", value="multi"), "single pass", "multi pass"),
    "data": (
        in_json("summary.json", "data", value="fashion_mnist"),
        "mnist_subset",
        "fashion_mnist",
    ),
    "num_tasks": (shorten, "3 tasks", "2 tasks"),
    "eval_split": (
        in_json("config.json", "settings", "stream", "eval_split", value="validation"),
        "test data",
        "validation data",
    ),
}


def copied(root: pathlib.Path, to: pathlib.Path, *changes: Change) -> pathlib.Path:
    shutil.copytree(root / "online", to)
    for change in changes:
        change(to)
    return to


def labels(*folders: pathlib.Path) -> list[str]:
    found = reading.read(folders)
    assert not found.problems
    return [run.label for run in found.runs]


@pytest.mark.parametrize("name", CHANGES)
def test_what_differs_is_in_every_label(
    name: str, root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    change, ours, theirs = CHANGES[name]
    other = copied(root, tmp_path / "other", change)
    shown = labels(root / "la_er", root / "online", other)
    assert shown == [f"La-ER ({ours})", f"Online ({ours})", f"Online ({theirs})"]
    assert labels(other, root / "la_er") == [f"La-ER ({ours})", f"Online ({theirs})"]
    assert labels(root / "la_er", root / "online") == ["La-ER", "Online"]


def test_runs_that_are_alike_have_their_folders_as_well(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    multi, validation = CHANGES["protocol"][0], CHANGES["eval_split"][0]
    folders = [
        copied(root, tmp_path / "a"),
        copied(root, tmp_path / "b"),
        copied(root, tmp_path / "c", multi, validation),
    ]
    assert labels(*folders) == [
        "Online (single pass, test data, a)",
        "Online (single pass, test data, b)",
        "Online (multi pass, validation data)",
    ]


def test_labels_differ_in_more_than_capitals(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A page's ids are of small letters."""
    named = in_json("summary.json", "learner", value="my_method.py:ONLINE")
    folders = [copied(root, tmp_path / "a"), copied(root, tmp_path / "b", named)]
    assert labels(*folders) == ["Online (a)", "ONLINE (b)"]


def test_long_labels_have_room_in_pictures(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = copied(root, tmp_path / "other", *(change for change, *_ in CHANGES.values()))
    found = reading.read([root / "online", other])
    label = "Online (multi pass, fashion_mnist, 2 tasks, validation data)"
    assert found.runs[1].label == label and label in page.build(found)
    lines = sections._in_figure(label).split("\n")
    assert " ".join(lines) == label and max(map(len, lines)) <= 26


def test_validation_is_never_called_test(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    percent_axis = drawing.percent_axis

    def noting(ax: Axes, label: str) -> None:
        shown.append(label)
        percent_axis(ax, label)

    monkeypatch.setattr(drawing, "percent_axis", noting)
    run_train(
        *("--learner=er,online", "--packaged_mnist", "--smoke", "--samples_per_task=20"),
        *("--eval_split=validation", "--eval_every=1", f"--workdir={tmp_path}"),
    )
    found = reading.read(reading.find([tmp_path]))
    text = page.build(found)
    assert [run.label for run in found.runs] == ["ER", "Online"]
    words = {"validation accuracy (%)", "mean validation accuracy, tasks seen so far (%)"}
    assert set(shown) == {*words, "mean accuracy, tasks seen so far (%)"}
    assert "mean validation accuracy on every task" in text and "test accuracy" not in text
    assert "Accuracies on validation data in percent" in text
