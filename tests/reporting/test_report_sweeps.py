"""Sweeps in the report: a picture and a ranking of each, and their own runs only where they are reported."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from pages import Elements, data_of
from running import run_script

from experiments import sweep
from experiments.reporting import page
from experiments.reporting.page import reading
from experiments.sweeps import results

TINY = ("--packaged_mnist", "--num_tasks=2", "--samples_per_task=20", "--learner=online")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A sweep over a rate, of which one value diverges, and its best point's run."""
    folder = tmp_path_factory.mktemp("root") / "sweep"
    grid = ("--grid=lr=0.03,0.1,1e30", "--num_seeds=2", "--report_best", "--report_seeds=2")
    run_script(sweep, *TINY, *grid, f"--workdir={folder}")
    return folder


def test_files_give_back_what_was_measured(swept: pathlib.Path) -> None:
    loaded, settings = results.load(swept)
    assert (settings["learner"], loaded.seeds) == ("online", [100, 101])
    assert loaded.points == [("0.03",), ("0.1",), ("1e30",)]
    assert loaded.diverged.tolist() == [[False] * 2, [False] * 2, [True] * 2]
    best = json.loads((swept / "best.json").read_text())
    first = loaded.ranking()[0]
    assert loaded.assignments(first) == [f"lr={best['point']['lr']}"]
    assert loaded.values["ra"][first].mean() == pytest.approx(best["ra_mean"], abs=1e-4)


def test_page_has_picture_ranking_and_the_best_points_run(swept: pathlib.Path) -> None:
    found = reading.read(reading.find([swept.parent]))
    assert [run.folder.name for run in found.runs] == ["best"] and not found.problems
    text = page.build(found)
    assert "<h3>Online over lr (sweep)</h3>" in text
    files = {
        str(attributes["download"]): str(attributes["href"])
        for tag, attributes in Elements(text).found
        if tag == "a" and "download" in attributes
    }
    ranking = data_of(files["sweep-1-online-over-lr-sweep-ranking.csv"])
    loaded = found.sweeps[0].sweep
    assert [row["lr"] for row in ranking] == [
        str(float(loaded.points[i][0])) for i in loaded.ranking()
    ]
    assert (ranking[-1]["RA"], ranking[-1]["diverged seeds"]) == ("", "2")
    rows = data_of(files["sweep-1-online-over-lr-sweep.csv"])
    assert len(rows) == 6
    measured = [float(row["RA"] or "nan") for row in rows]
    np.testing.assert_array_equal(measured, loaded.values["ra"].ravel())


def test_sweep_alone_makes_a_page(swept: pathlib.Path, tmp_path: pathlib.Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(swept, alone, ignore=lambda *_: ["best", "units"])
    found = reading.read(reading.find([alone]))
    text = page.build(found)
    assert not found.runs and "0 runs, 1 sweep" in text and 'id="sweeps"' in text
    shutil.copytree(swept / "best", alone, dirs_exist_ok=True)  # a run in the same folder
    found = reading.read(reading.find([alone]))
    assert (len(found.runs), len(found.sweeps)) == (1, 1) and not found.problems


def test_damaged_sweep_is_named(swept: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(swept, copy)
    (copy / "sweep.csv").write_text("point,lr\n9,1\n")
    found = reading.read(reading.find([copy]))
    assert len(found.runs) == 1 and not found.sweeps
    assert found.problems[0].startswith(f"{copy} holds a sweep that is not finished")


def test_part_of_a_sweep_is_no_run(swept: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="holds a part of a sweep"):
        reading.read(reading.find([swept / "units"]))
