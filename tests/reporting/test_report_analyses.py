"""Analyses in the report: pictures and tables of each, as in its folder, whichever analysis it is."""

import json
import pathlib
import shutil
import types

import numpy as np
import pytest
from pages import Elements, data_of
from running import run_script

from experiments import alignment, equivalence, robustness, time_accuracy
from experiments.analyses import folder, reading
from experiments.reporting import page
from experiments.reporting.page import reading as runs
from experiments.runs import workdirs
from experiments.sweeps import results

TINY = ("--packaged_mnist", "--num_tasks=3", "--samples_per_task=20")
ONE = "--set=glances=1"
ANALYSES = {
    alignment: (ONE, "--learner=er", "--num_seeds=2"),
    equivalence: (ONE, "--inner_steps=1,2"),
    robustness: (ONE, "--learner=c_maml", "--points=2", "--grid_size=2", "--num_seeds=2"),
    time_accuracy: ("--learner=er", "--passes=1,2", "--num_seeds=1"),
}
PARTS = {
    "alignment": ["alignment_cosine", "alignment_dot"],
    "equivalence": ["equivalence"],
    "robustness": ["c_maml_rates", "c_maml_grid"],
    "time_accuracy": ["time_accuracy"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of all four analyses, in a small setting."""
    path = tmp_path_factory.mktemp("analyses")
    for script, flags in ANALYSES.items():
        name = script.__name__.rpartition(".")[2]
        run_script(script, *TINY, *flags, f"--workdir={path / name}")
    return path


@pytest.fixture(scope="module")
def files(root: pathlib.Path) -> dict[str, list[dict[str, str]]]:
    """The data that can be had from the page, by file name."""
    found = runs.read(runs.find([root]))
    text = page.build(found)
    assert "0 runs, 4 analyses" in text and not found.problems and not found.sweeps
    return {
        str(attributes["download"]): data_of(str(attributes["href"]))
        for tag, attributes in Elements(text).found
        if tag == "a" and "download" in attributes
    }


def test_every_part_has_a_picture_and_a_table(files: dict[str, list[dict[str, str]]]) -> None:
    assert list(files) == [
        f"analysis-{i}-{part.replace('_', '-')}{kind}.csv"
        for i, parts in enumerate(PARTS.values(), 1)
        for kind in ("", "-table")
        for part in parts
    ]


def test_data_are_what_was_measured(
    root: pathlib.Path, files: dict[str, list[dict[str, str]]]
) -> None:
    measured = workdirs.read_results(root / "alignment" / "er")
    shown = [row["old tasks against the new one, from the memory"] for row in files_of(files, 1)]
    cosine = measured["cosine_against_new_memory"][:, 1:]
    np.testing.assert_array_equal(np.array(shown, float), cosine.ravel().astype(float))

    gaps = json.loads((root / "equivalence" / "equivalence.json").read_bytes())["steps"]
    shown = [row["to the surrogate"] for row in files_of(files, 2)]
    assert [float(text) for text in shown] == gaps["1"]["surrogate"] + gaps["2"]["surrogate"]

    sweep, _ = results.load(root / "robustness" / "c_maml")
    for row in files["analysis-3-c-maml-grid.csv"]:
        point = sweep.points.index((row["α (inner_lr)"], row["β (outer_lr)"]))
        assert float(row["RA"]) == sweep.values["ra"][point, sweep.seeds.index(int(row["seed"]))]

    cost = json.loads((root / "time_accuracy" / "time_accuracy.json").read_bytes())["er"]
    shown = [row["example-gradients"] for row in files["analysis-4-time-accuracy.csv"]]
    assert [int(text) for text in shown] == cost["gradients"]


def files_of(files: dict[str, list[dict[str, str]]], number: int) -> list[dict[str, str]]:
    return next(rows for name, rows in files.items() if name.startswith(f"analysis-{number}-"))


@pytest.mark.parametrize("analysis", PARTS)
def test_pictures_and_tables_of_the_folder_are_drawn_from_what_is_read(
    analysis: str, root: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, about, parts = reading.read(root / analysis)
    assert [part.name for part in parts] == PARTS[analysis]
    folder.show(tmp_path, about, parts)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(f"{part}.{end}" for part in PARTS[analysis] for end in ("csv", "png"))
    for name in drawn:
        assert (tmp_path / name).read_bytes() == (root / analysis / name).read_bytes(), name
    printed = capsys.readouterr().out
    assert all(text in printed for part in parts for text in (part.caption, *part.remarks))


def test_tables_sort_by_numbers(files: dict[str, list[dict[str, str]]]) -> None:
    rates = [float(row["rate"]) for row in files["analysis-2-equivalence-table.csv"]]
    assert rates == [2.0**-n for n in range(2, 21)]
    (row,) = files["analysis-1-alignment-cosine-table.csv"]
    assert float(row["old tasks against the new one, from the memory std"]) >= 0
    costs = files["analysis-4-time-accuracy-table.csv"]
    assert float(costs[1]["example-gradients"]) == 2 * float(costs[0]["example-gradients"])


DAMAGE = {
    "alignment": ("er/results.npz", b"PK"),
    "equivalence": ("equivalence.json", b"{}"),
    "robustness": ("c_maml/sweep.csv", b"point,inner_lr\n"),
    "time_accuracy": ("time_accuracy.json", b'{"er": {"train_seconds": [1]}}'),
}


@pytest.mark.parametrize("analysis", DAMAGE)
def test_damaged_analysis_is_named_and_the_others_shown(
    analysis: str, root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    copy = pathlib.Path(shutil.copytree(root, tmp_path / "copy"))
    name, content = DAMAGE[analysis]
    (copy / analysis / name).write_bytes(content)
    found = runs.read(runs.find([copy]))
    (problem,) = found.problems
    assert problem.startswith(f"{copy / analysis} holds an analysis of {analysis} that is damaged")
    assert [of.about.analysis for of in found.analyses] == [n for n in PARTS if n != analysis]


def test_unfinished_analysis_is_named(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = pathlib.Path(shutil.copytree(root / "robustness", tmp_path / "copy"))
    workdirs.write_json(copy / folder.FILE, folder.read(copy)._replace(finished=False)._asdict())
    with pytest.raises(ValueError, match="holds an analysis of robustness that is not finished"):
        runs.read(runs.find([copy]))
    (copy / folder.FILE).write_text('{"analysis": "robust')
    found = runs.read(runs.find([copy]))  # what it ran can be shown all the same
    assert len(found.sweeps) == 1
    assert found.problems[0].startswith(f"{copy / folder.FILE} is damaged")


def test_folder_of_another_analysis_is_refused(
    root: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "alignment"
    with pytest.raises(SystemExit):
        run_script(equivalence, *TINY, ONE, f"--workdir={path}")
    assert f"{str(path)!r}, which holds an analysis of alignment" in capsys.readouterr().err
    assert folder.read(path).finished


CHANGES = [
    (alignment, "--num_tasks=2", "num_tasks (3, now 2)"),
    (alignment, "--num_seeds=1", "seeds ([0, 1], now [0])"),
    (equivalence, "--benchmark=mnist_permutations", "benchmark (mnist_rotations, now mnist_perm"),
    (equivalence, "--inner_steps=1", "inner_steps ([1, 2], now [1])"),
    (robustness, "--num_tasks=2", "num_tasks (3, now 2)"),
    (robustness, "--learner=la_maml", "learners (['c_maml'], now ['la_maml'])"),
    (robustness, "--points=3", "points (2, now 3)"),
    (time_accuracy, "--passes=1,3", "passes (['1', '2'], now ['1', '3'])"),
]


@pytest.mark.parametrize(("script", "change", "named"), CHANGES, ids=lambda value: str(value)[:40])
def test_other_settings_leave_a_finished_analysis_as_it_is(
    script: types.ModuleType,
    change: str,
    named: str,
    root: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = root / script.__name__.rpartition(".")[2]
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(SystemExit):
        run_script(script, *TINY, *ANALYSES[script], change, f"--workdir={path}")
    said = capsys.readouterr().err
    assert f"{str(path)!r}, which holds an analysis of {path.name} that differs in" in said
    assert named in said
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_refused_sweep_leaves_its_analysis_finished(
    root: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = pathlib.Path(shutil.copytree(root / "robustness", tmp_path / "copy"))
    (copy / "c_maml" / "sweep.json").write_text("{}")
    with pytest.raises(SystemExit):
        run_script(robustness, *TINY, *ANALYSES[robustness], f"--workdir={copy}")
    assert "holds another sweep" in capsys.readouterr().err and folder.read(copy).finished
