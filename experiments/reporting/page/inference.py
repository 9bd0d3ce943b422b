"""The sections of what results mean: metrics beyond the paper's, and what the seeds at hand allow to say.

Dimensions: S seeds, T tasks.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from experiments.reporting.page.blocks import Block, Cell, Section, Text, number, table, word
from experiments.reporting.page.reading import Found
from experiments.reporting.page.run import Run
from experiments.reporting.summary import paper_values, spread
from lamaml_jax import analysis, metrics, streams

MARGIN = 1.5
"""Points of RA within which our mean counts as the paper's."""

_HOW_IT_ARRIVES = ("batch_size", "epochs")
"""Settings of the package's benchmarks that change nothing of the tasks that a seed draws."""

_METRICS: dict[str, Callable[[np.ndarray, np.ndarray | None, np.ndarray | None], np.ndarray]] = {
    "forgetting": lambda accuracy, inside, progress: metrics.forgetting(accuracy),
    "average incremental accuracy": lambda accuracy, inside, progress: (
        metrics.average_incremental_accuracy(accuracy)
    ),
    "min-ACC": lambda accuracy, inside, progress: metrics.minimum_accuracy(accuracy, inside),
    "WC-ACC": lambda accuracy, inside, progress: metrics.worst_case_accuracy(accuracy, inside),
    "stability gap": lambda accuracy, inside, progress: (
        np.full(len(accuracy), np.nan)
        if inside is None
        else metrics.stability_gap(accuracy, inside)
    ),
    "LCA": metrics.learning_curve_area,
}
"""Of an accuracy matrix, evaluations inside tasks, and the share of a task behind each of them."""


def further_metrics(found: Found) -> Section | None:
    """Return the table of metrics that others report."""
    runs = found.runs
    if not runs:
        return None
    rows = [[word(run.label), *_metrics(run, runs)] for run in runs]
    if all(cell.value is None for row in rows for cell in row[1:]):
        return None
    blocks: list[Block] = [
        table(
            "metrics",
            "In percent, mean ± standard deviation over the seeds that did not diverge. A dash stands where accuracies "
            "that a metric needs were not evaluated (a run with --eval=all has them all), and in the last column "
            "without a run of IID of the same protocol on the same stream.",
            ("learner", *_METRICS, "intransigence"),
            rows,
        ),
        Text(
            "Forgetting: how far tasks fell from their best (Chaudhry 2018). Average incremental accuracy: over tasks "
            "seen, averaged over time (Rebuffi 2017). min-ACC: the lowest accuracy of each task after it was learnt; "
            "WC-ACC: that and the last task's accuracy, weighted by tasks (De Lange 2023), both at the ends of tasks "
            "and, of a run with --eval_every, inside them. Stability gap, of such a run: how far old tasks fall inside "
            "the next. LCA: mean accuracy on a task from its beginning to its end, by lines between these and, of "
            "a run with --eval_every, the evaluations inside it. "
            "Intransigence: how much better IID does on each task than the learner when it has just learnt it."
        ),
    ]
    return Section("metrics", "Metrics beyond the paper's", blocks)


def statistics(found: Found) -> Section | None:
    """Return intervals, tests between learners on the same seeds, and statements beside the paper's values."""
    runs = found.runs
    if not runs:
        return None
    if all(len(run.results["seeds"]) < 2 for run in runs):
        return None
    intervals = table(
        "intervals",
        "RA in percent with Student's t interval of the mean; the standard deviation is divided by one less than the "
        "number of seeds here.",
        ("learner", "RA", "95 % interval, low", "high", "seeds", "diverged"),
        (_interval(run) for run in runs),
    )
    blocks: list[Block] = [intervals, *_tests(runs), *_equivalences(runs)]
    return Section("statistics", "What the seeds allow to say", blocks)


def _metrics(run: Run, runs: Sequence[Run]) -> Iterator[Cell]:
    accuracy = run.accuracy.astype(np.float64)
    inside = None if run.inside is None else run.inside.astype(np.float64)
    for metric in _METRICS.values():
        yield _over_seeds(100 * metric(accuracy, inside, run.progress))
    protocol = run.summary["protocol"]
    iid = [r for r in runs if (r.summary["learner"], r.summary["protocol"]) == ("iid", protocol)]
    joint = [r for r in iid if _stream(r) == _stream(run)]
    if joint and len(joint[0].accuracy) and run is not joint[0]:
        last = joint[0].accuracy[:, -1].astype(np.float64).mean(axis=0)
        yield _over_seeds(100 * metrics.intransigence(accuracy, last))
    else:
        yield number(None)


def _over_seeds(values: np.ndarray) -> Cell:
    return number(values.mean(), std=spread(values)) if len(values) else number(None)


def _retained(run: Run) -> np.ndarray:
    """Return RA in percent `[S]`, NaN where a seed diverged."""
    percent = 100 * metrics.retained_accuracy(run.results["accuracy"].astype(np.float64))
    return np.where(run.results["diverged"], np.nan, percent)


def _interval(run: Run) -> list[Cell]:
    found = analysis.summarise(_retained(run))
    return [
        word(run.label),
        number(found.mean, std=found.std),
        *(number(end) for end in (found.low, found.high)),
        *(number(count, 0) for count in (found.num_seeds, found.left_out)),
    ]


def _tests(runs: Sequence[Run]) -> Iterator[Block]:
    pairs = [
        (first, second, test)
        for first, second in itertools.combinations(runs, 2)
        if (test := _paired(first, second)) is not None
    ]
    left_out = len(runs) * (len(runs) - 1) // 2 - len(pairs)
    if pairs:
        corrected = analysis.holm([test.p_value for _, _, test in pairs])
        smallest = min(test.smallest_p for _, _, test in pairs)
        yield table(
            "tests",
            "RA of two learners on the same seeds, first minus second, in points: exact paired permutation test, two-"
            "sided, with Holm's correction over all rows. The effect size is Cohen's d_z, which few seeds overrate. No "
            f"p-value can be below the smallest that so many seeds attain (here {smallest:.3g}), before correction.",
            ("first", "second", "difference", "p", "p, Holm", "smallest p", "effect size", "seeds"),
            (
                [
                    *(word(run.label) for run in (first, second)),
                    number(test.difference),
                    *(number(p, 4) for p in (test.p_value, float(p_holm), test.smallest_p)),
                    number(test.effect_size),
                    number(test.num_pairs, 0),
                ]
                for (first, second, test), p_holm in zip(pairs, corrected, strict=True)
            ),
        )
    if left_out:
        yield Text(
            f"{left_out} {'pair' if left_out == 1 else 'pairs'} of runs cannot be tested: they have less than two "
            "seeds in common that did not diverge, or differ in stream or images, so that a seed draws other tasks."
        )


def _paired(first: Run, second: Run) -> analysis.PairedTest | None:
    if _stream(first) != _stream(second):
        return None
    values = [
        dict(zip(r.results["seeds"].tolist(), _retained(r), strict=True)) for r in (first, second)
    ]
    seeds = [seed for seed in values[0] if seed in values[1]]
    if not seeds:
        return None
    test = analysis.paired_test(*([of_run[seed] for seed in seeds] for of_run in values))
    return test if test.num_pairs >= 2 else None


def _equivalences(runs: Sequence[Run]) -> Iterator[Block]:
    beside = [
        (run, paper)
        for run in runs
        if {"ra_mean", "ra_std"} <= set(paper := paper_values(run.summary))
        and not run.summary["data"].endswith("_subset")
        and len(run.accuracy) >= 2
    ]
    if not beside:
        yield Text(
            "No run is on the paper's stream and whole images with two seeds or more, to be set beside its values."
        )
        return
    yield table(
        "equivalence",
        f"Whether our mean RA is within {MARGIN} points of the paper's: yes, no, or cannot tell, each wrong in 5 % of "
        "cases at most. The paper's seeds are not ours, so nothing is paired: Welch's intervals of the difference.",
        (
            *("learner", "within the margin", "difference"),
            *("90 % interval, low", "90 %, high", "95 %, low", "95 %, high"),
        ),
        (_equivalence(run, paper) for run, paper in beside),
    )


def _equivalence(run: Run, paper: dict[str, float]) -> list[Cell]:
    found = analysis.equivalence_to_published(
        _retained(run),
        mean=paper["ra_mean"],
        std=paper["ra_std"],
        num_seeds=5 if run.summary["benchmark"].startswith("mnist") else 3,  # the paper's
        margin=MARGIN,
    )
    ends = (*found.interval_90, *found.interval_95)
    return [word(run.label), word(found.verdict), *map(number, (found.difference, *ends))]


def _stream(run: Run) -> str:
    """Return what two runs must share so that the same seed draws the same tasks."""
    settings, stream = run.settings, run.settings["stream"]
    # A user's own may draw its tasks by any setting.
    if run.summary["benchmark"] in streams.BENCHMARKS:
        stream = {name: value for name, value in stream.items() if name not in _HOW_IT_ARRIVES}
    drawn = [stream, settings.get("stream_seed"), run.description["data"].get("sha256")]
    return json.dumps(drawn, sort_keys=True)
