"""The report's statistics: who is compared with whom, and that the numbers are the library's."""

import pathlib
from typing import Any

import jax
import numpy as np
import pytest

from experiments.reporting.page import inference, reading
from experiments.reporting.page.blocks import Section, Table, Text
from lamaml_jax import analysis, metrics, streams
from lamaml_jax.datasets import ImageDataset

STREAM = {"num_tasks": 3, "epochs": 1}


def run(label: str, ra: list[float], seeds: list[int] | None = None, **changes: Any) -> reading.Run:
    """Return a run whose seeds end with these RA in percent, NaN where one diverged."""
    rng = np.random.default_rng(len(label))
    accuracy = rng.uniform(0.2, 0.9, (len(ra), 4, 3))
    accuracy[:, -1] = np.array(ra)[:, None] / 100
    diverged = np.isnan(ra)
    accuracy[diverged] = np.nan
    results = {
        "seeds": np.arange(len(ra)) if seeds is None else np.array(seeds),
        "accuracy": accuracy,
        "diverged": diverged,
    }
    summary = {
        **{"benchmark": "mnist_rotations", "protocol": "single", "learner": "la_maml"},
        **{"data": "mnist", "standard_stream": True},
        **changes,
    }
    description = {"settings": {"stream": STREAM}, "data": {"sha256": "1"}}
    return reading.Run(pathlib.Path(label), label, description, summary, results, {})


def found(runs: list[reading.Run]) -> reading.Found:
    return reading.Found(runs, [], [])


def tables(section: Section | None) -> dict[str, list[list[str]]]:
    assert section is not None
    return {
        block.name: [[cell.text for cell in row] for row in block.rows]
        for block in section.blocks
        if isinstance(block, Table)
    }


FIRST, SECOND = [76.0, 77.0, 75.0, 78.0, 76.0], [71.0, 70.0, 72.0, 71.0, 70.0]


def test_learners_on_the_same_seeds_are_tested() -> None:
    shown = tables(
        inference.statistics(found([run("A", FIRST), run("B", SECOND), run("C", FIRST[::-1])]))
    )
    assert shown["tests"][0] == ["A", "B", "5.60", "0.0625", "0.1875", "0.0625", "3.35", "5"]
    assert [row[:2] for row in shown["tests"]] == [["A", "B"], ["A", "C"], ["B", "C"]]
    assert shown["tests"][1][2:5] == ["0.00", "1.0000", "1.0000"]


def test_seeds_are_paired_by_number_and_without_those_that_diverged() -> None:
    shuffled = run("B", [70.0, np.nan, 72.0, 60.0], seeds=[1, 3, 2, 9])
    (row,) = tables(inference.statistics(found([run("A", FIRST), shuffled])))["tests"]
    pairs = analysis.paired_test([77.0, 75.0], [70.0, 72.0])
    assert row[2:] == [
        *(f"{pairs.difference:.2f}", "0.5000", "0.5000", "0.5000"),
        *(f"{pairs.effect_size:.2f}", "2"),
    ]


@pytest.mark.parametrize(
    "description",
    [
        {"settings": {"stream": {**STREAM, "num_tasks": 4}}, "data": {"sha256": "1"}},
        {"settings": {"stream": STREAM}, "data": {"sha256": "2"}},
        {"settings": {"stream": STREAM, "stream_seed": 3}, "data": {"sha256": "1"}},
    ],
)
def test_runs_of_other_tasks_are_not_paired(description: dict[str, Any]) -> None:
    other = run("B", SECOND)._replace(description=description)
    section = inference.statistics(found([run("A", FIRST), other]))
    assert section is not None and "tests" not in tables(section)
    texts = [block.text for block in section.blocks if isinstance(block, Text)]
    assert texts[0].startswith("1 pair of runs cannot be tested")


@pytest.mark.parametrize(
    ("benchmark", "protocol", "is_paired", "has_intransigence"),
    [
        ("mnist_rotations", "single", True, True),
        ("mnist_rotations", "multi", True, False),
        ("my_stream.py:make", "single", False, False),  # which may draw by any of its settings
    ],
)
def test_batches_and_passes_do_not_draw_the_tasks(
    benchmark: str, protocol: str, is_paired: bool, has_intransigence: bool
) -> None:
    of_iid = {"stream": {**STREAM, "batch_size": 32, "epochs": 50}}
    iid = run("IID", SECOND, learner="iid", benchmark=benchmark, protocol=protocol)
    iid = iid._replace(description={"settings": of_iid, "data": {"sha256": "1"}})
    shown = found([run("A", FIRST, benchmark=benchmark), iid])
    assert ("tests" in tables(inference.statistics(shown))) == is_paired
    rows = tables(inference.further_metrics(shown))["metrics"]
    assert (rows[0][-1] != "–") == has_intransigence


@pytest.mark.parametrize("name", streams.BENCHMARKS)
@pytest.mark.parametrize("eval_split", ["test", "validation"])
def test_every_benchmark_draws_the_same_tasks_in_other_batches(name: str, eval_split: str) -> None:
    images, labels = np.zeros((200, 8, 8, 3), np.uint8), np.arange(200, dtype=np.int32) % 10
    dataset = ImageDataset("images", images, labels, images, labels, "arrays")
    make = streams.BENCHMARKS[name]
    settings = {"num_tasks": 2, "samples_per_task": 100, "eval_split": eval_split}
    key = jax.random.key(0)
    drawn = make(dataset, **settings).make_stream(key)
    other = make(dataset, **settings, batch_size=32, epochs=50).make_stream(key)
    jax.tree.map(np.testing.assert_array_equal, drawn, other)


def test_smallest_p_of_the_caption_is_that_of_the_pairs_with_most_seeds() -> None:
    runs = [run("A", FIRST), run("B", SECOND), run("C", FIRST[:3])]
    section = inference.statistics(found(runs))
    assert section is not None
    (tests,) = (b for b in section.blocks if isinstance(b, Table) and b.name == "tests")
    assert "(here 0.0625)" in tests.caption and tests.rows[1][5].text == "0.2500"


def test_intervals_are_students() -> None:
    ra = [*FIRST, np.nan]
    (row,) = tables(inference.statistics(found([run("A", ra)])))["intervals"]
    of_ra = analysis.summarise(np.array(ra))
    ends = (f"{of_ra.low:.2f}", f"{of_ra.high:.2f}")
    assert row == ["A", f"{of_ra.mean:.2f} ± {of_ra.std:.2f}", *ends, "5", "1"]


def test_published_value_is_set_beside_and_never_paired() -> None:
    near = [77.2, 77.9, 76.8, 77.5, 77.1]
    runs = [
        run("A", near),
        run("B", [value - 10 for value in near]),
        run("C", near, data="mnist_subset"),
        run("D", near, standard_stream=False),
    ]
    rows = tables(inference.statistics(found(runs)))["equivalence"]
    assert [row[:2] for row in rows] == [["A", "yes"], ["B", "no"]]
    assert rows[0][2] == f"{np.mean(near) - 77.42:.2f}".replace("-", "−")


def test_single_seeds_say_nothing() -> None:
    assert inference.statistics(found([run("A", [76.0])])) is None


def test_further_metrics_are_the_librarys() -> None:
    a, iid = run("A", FIRST), run("IID", SECOND, learner="iid")
    inside = np.random.default_rng(0).uniform(0, 0.9, (5, 3, 2, 3))
    cells = {
        "inside_accuracy": inside,
        "inside_batches": np.array([3, 6]),
        "inside_progress": np.array([[0.3, 0.6]] * 3),
    }
    a = a._replace(results={**a.results, **cells})
    rows = tables(inference.further_metrics(found([a, iid])))["metrics"]
    values = [
        metrics.forgetting(a.accuracy),
        metrics.average_incremental_accuracy(a.accuracy),
        metrics.minimum_accuracy(a.accuracy, inside),
        metrics.worst_case_accuracy(a.accuracy, inside),
        metrics.stability_gap(a.accuracy, inside),
        metrics.learning_curve_area(a.accuracy, inside, np.array([0.3, 0.6])),
        metrics.intransigence(a.accuracy, iid.accuracy[:, -1].mean(axis=0)),
    ]
    expected = [f"{100 * v.mean():.2f} ± {100 * v.std():.2f}".replace("-", "−") for v in values]
    assert rows[0] == ["A", *expected]
    assert rows[1][-1] == "–"


def test_metrics_that_no_run_has_are_left_out() -> None:
    sparse = run("A", FIRST)
    sparse.results["accuracy"][:, 1:3] = np.nan
    assert inference.further_metrics(found([sparse])) is None
