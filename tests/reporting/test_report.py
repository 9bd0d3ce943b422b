"""The report: what it shows of real runs, what it refuses, and that it needs nothing but itself."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from pages import Elements, data_of

from experiments import report
from experiments.reporting import page
from experiments.reporting.page import microscope, reading, sections
from experiments.reporting.summary import comparison_table


@pytest.fixture
def copy(root: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """The same runs, to be broken."""
    shutil.copytree(root, tmp_path / "runs")
    return tmp_path / "runs"


def run_report(*arguments: str) -> None:
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        report.main(flags.FLAGS(["report", *arguments]))


def test_command_writes_the_page(
    root: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    run_report(str(root / "online"), str(root), f"--out={out}")  # a run that is named twice is one
    assert capsys.readouterr().out == f"Report: {out}\n"
    cells = Elements(out.read_text()).cells
    for learner in ("la_er", "online"):
        summary = json.loads((root / learner / "summary.json").read_text())
        assert f"{summary['ra_mean']:.2f} ± {summary['ra_std']:.2f}" in cells
    assert out.read_text().count("<h3>Online</h3>") == 1


def test_page_is_whole_in_itself(runs: list[reading.Run]) -> None:
    text = page.build(reading.Found(runs, [], []))
    assert text == page.build(reading.Found(runs, [], []))
    elements = Elements(text)
    ids = elements.all("id")
    assert len(ids) == len(set(ids)) > 30
    for target in [*elements.all("href"), *elements.all("src"), *elements.all("xlink:href")]:
        assert target.startswith("data:") or target.removeprefix("#") in ids
    referring = (*elements.all("aria-labelledby"), *elements.all("aria-describedby"))
    for names in (*referring, *elements.all("for")):
        assert set(names.split()) <= set(ids)
    for tag, attributes in elements.found:
        assert tag != "img" or attributes["alt"]
        assert tag != "th" or attributes["scope"] in ("row", "col")
        assert tag != "svg" or attributes["role"] == "img"
    levels = [int(t[1]) for t, _ in elements.found if t in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and max(np.diff(levels)) <= 1


def test_figures_come_with_their_data(runs: list[reading.Run]) -> None:
    files = {
        str(attributes["download"]): str(attributes["href"])
        for tag, attributes in Elements(page.build(reading.Found(runs, [], []))).found
        if tag == "a" and "download" in attributes
    }
    la_er = runs[0]
    rows = data_of(files["la-er-matrix.csv"])
    matrix = [[float(row[f"task {i}"]) for i in (1, 2, 3)] for row in rows]
    np.testing.assert_allclose(matrix, 100 * la_er.accuracy.mean(axis=0), rtol=1e-5)
    rates = [float(r["mean rate"]) for r in data_of(files["la-er-rates.csv"])]
    means = la_er.results["rate_mean"].mean(axis=0)
    np.testing.assert_allclose(rates, means.ravel(), rtol=1e-5)
    curves = data_of(files["curves.csv"])
    assert {(r["learner"], r["seed"]) for r in curves} == {
        (run.label, seed) for run in runs for seed in "01"
    }
    first = data_of(files["results.csv"])[0]
    assert float(first["RA"]) == la_er.summary["ra_mean"]
    assert float(first["RA std"]) == la_er.summary["ra_std"]


def test_results_stand_beside_the_papers(runs: list[reading.Run]) -> None:
    summary = {**runs[1].summary, "standard_stream": True}
    summary |= {"ra_mean": 55.0, "ra_std": 2.0, "bti_mean": None, "bti_std": None}
    found = reading.Found([runs[1]._replace(summary=summary)], [], [])
    section = sections.results(found)
    assert section is not None
    (row,) = section.blocks[0].rows  # type: ignore[union-attr]
    assert [cell.text for cell in row[:9]] == [
        *("Online", "55.00 ± 2.00", "53.38 ± 1.53", "1.62 ± 2.52", row[4].text),
        *("–", "−5.44 ± 1.70", "–", row[8].text),
    ]


def test_what_the_paper_has_no_value_for_has_no_empty_columns(runs: list[reading.Run]) -> None:
    of_users = [{**run.summary, "benchmark": "my_stream.py:make"} for run in runs]
    found = [run._replace(summary=summary) for run, summary in zip(runs, of_users, strict=True)]
    section = sections.results(reading.Found(found, [], []))
    assert section is not None
    results = section.blocks[0]
    assert results.columns[:5] == ("learner", "RA", "LA", "BTI", "FWT")  # type: ignore[union-attr]
    assert {len(row) for row in results.rows} == {len(results.columns)}  # type: ignore[union-attr]
    assert "paper" not in results.caption  # type: ignore[union-attr]
    table = comparison_table(of_users)
    assert table.startswith("| learner | RA | LA | BTI |\n")
    papers = {**runs[1].summary, "standard_stream": True}
    assert comparison_table([of_users[0], papers]).splitlines()[2].endswith("| – | – |")


def test_damaged_run_is_named_and_the_others_are_shown(
    copy: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "online" / "results.npz").write_bytes(b"PK no results")
    (copy / "la_er" / "rates.npz").write_bytes(b"PK no rates")
    unfinished = copy / "unfinished"
    unfinished.mkdir()
    shutil.copy(copy / "online" / "config.json", unfinished)
    unit = copy / "divided" / "cluster" / "0000"  # of a run that is at work on a cluster
    shutil.copytree(copy / "online", unit)
    (unit.parent / "division.json").write_text("{}")
    run_report(str(copy), f"--out={copy / 'page.html'}")
    warned, text = capsys.readouterr().err, (copy / "page.html").read_text()
    for sentence in (
        f"{copy / 'online' / 'results.npz'} is missing or damaged",
        f"{copy / 'la_er' / 'rates.npz'} is damaged",
        f"{unfinished} holds a run that is not finished",
    ):
        assert sentence in warned and sentence in text
    assert "<h3>La-ER</h3>" in text and "<h3>Online</h3>" not in text


def test_damaged_rates_do_not_hide_what_else_was_measured(copy: pathlib.Path) -> None:
    (copy / "la_er" / "rates.npz").write_bytes(b"PK no rates")
    found = reading.read([copy / "la_er"])
    assert not found.runs[0].rates and "gradient_cosine" in found.runs[0].dynamics
    (copy / "la_er" / "dynamics.npz").write_bytes(b"PK nothing")
    first, second = reading.read([copy / "la_er"]).problems
    assert "rates.npz is damaged" in first and "dynamics.npz is damaged" in second


def test_one_rate_for_each_layer_is_shown(copy: pathlib.Path) -> None:
    path = copy / "la_er" / "rates.npz"  # as a learner of one's own keeps whose rates are scalars
    np.savez(path, rates_w=np.array([0.1, 0.25, -0.5, np.nan], np.float16))
    found = reading.read([copy / "la_er"])
    (shown,) = microscope.look(found.runs[0])
    (layer,) = shown.layers  # type: ignore[union-attr]
    assert layer.size == (1, 1) and layer.explanation.startswith("1 rate: one pixel")
    assert "mean 0.25, from 0.25 to 0.25, 0 %" in layer.alternatives[1]
    assert layer.alternatives[3].endswith("not kept.")
    assert not found.problems and "1 rate: one pixel" in page.build(found)


def test_arrays_that_do_not_fit_are_damage(copy: pathlib.Path) -> None:
    path = copy / "online" / "results.npz"
    for change in ({"accuracy": np.zeros((2, 3))}, {"diverged": np.zeros(3, bool)}):
        with np.load(copy / "la_er" / "results.npz") as results:
            np.savez(path, **{**results, **change})
        found = reading.read(reading.find([copy]))
        assert [run.label for run in found.runs] == ["La-ER"] and str(path) in found.problems[0]


def test_names_cannot_break_the_page(copy: pathlib.Path) -> None:
    name = "<script>alert('$x$')</script>"
    shutil.copytree(copy / "online", copy / name.replace("/", "|"))
    text = page.build(reading.read(reading.find([copy])))
    assert "<script>alert" not in text
    assert "Online (&lt;script&gt;alert" in text


def test_runs_of_which_all_seeds_diverged_are_said_to_be(runs: list[reading.Run]) -> None:
    results = {**runs[0].results, "diverged": np.ones(2, bool)}
    text = page.build(reading.Found([runs[0]._replace(results=results)], [], []))
    assert "All its seeds diverged." in text


@pytest.mark.parametrize("case", ["none", "empty", "missing", "benchmarks", "damaged", "out"])
def test_bad_input_is_one_sentence(
    copy: pathlib.Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, expected = [str(copy)], f"{str(copy)!r} holds no run."
    if case == "none":
        arguments, expected = [], "no run is given"
    elif case == "empty":
        shutil.rmtree(copy)
        copy.mkdir()
    elif case == "missing":
        arguments, expected = [str(copy / "nowhere")], "is not a folder"
    elif case == "benchmarks":
        path = copy / "online" / "summary.json"
        path.write_text(path.read_text().replace("mnist_rotations", "mnist_permutations"))
        expected = "the runs are of mnist_rotations and mnist_permutations"
    elif case == "damaged":
        for learner in ("la_er", "online"):
            (copy / learner / "summary.json").write_text("{}")
        expected = "no run can be reported"
    else:
        arguments, expected = [str(copy), f"--out={copy}"], f"out is {str(copy)!r}"
    with pytest.raises(SystemExit) as ended:
        run_report(f"--out={copy.parent / 'page.html'}", *arguments)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
    assert not (copy.parent / "page.html").exists()
