"""The sections of the page, in order.

A builder takes what was found and returns a section, or None where there is nothing for it. A new section is one more
builder in SECTIONS; it need not know of HTML.

Dimensions: S seeds, T tasks, L layers.
"""

import textwrap
from collections.abc import Callable, Iterator

import numpy as np

from experiments.reporting import comparison, drawing, figures
from experiments.reporting.page import (
    analysing,
    inference,
    inside,
    microscope,
    settings,
    sweeping,
)
from experiments.reporting.page.blocks import (
    Block,
    Cell,
    Group,
    Picture,
    Section,
    Text,
    anchor,
    number,
    picture,
    table,
    word,
)
from experiments.reporting.page.reading import Found
from experiments.reporting.page.run import Run
from experiments.reporting.summary import is_alone, paper_values

Builder = Callable[[Found], Section | None]


def results(found: Found) -> Section | None:
    """Return the table of all runs beside the paper's values."""
    runs = found.runs
    if not runs:
        return None
    splits = {run.split for run in runs}
    of_data = f" on {splits.pop()} data" if len(splits) == 1 else ""
    caption = (
        f"Accuracies{of_data} in percent, mean ± standard deviation over the seeds that did not diverge (divided by "
        "their number)."
    )
    columns: tuple[str, ...] = (
        *("learner", "RA", *_BESIDE["ra"], "LA", "BTI", *_BESIDE["bti"], "FWT"),
        *("seeds", "diverged seeds", "minutes", "updates/s"),
    )
    rows = [_result(run) for run in runs]
    if any(paper_values(run.summary) for run in runs):
        caption += (
            " A difference is ours minus the paper's; its ± is the root of the sum of both squared."
        )
    else:
        own = [i for i, name in enumerate(columns) if name not in (*_BESIDE["ra"], *_BESIDE["bti"])]
        columns, rows = tuple(columns[i] for i in own), [[row[i] for i in own] for row in rows]
    blocks: list[Block] = [
        table("results", caption, columns, rows),
        Text(
            "RA: accuracy on all tasks at the end. LA: on each task when it was just learnt. BTI = RA − LA: what later "
            "tasks took away. FWT: on the next task, above that before training."
        ),
    ]
    if any(paper_values(run.summary) and run.summary["data"].endswith("_subset") for run in runs):
        blocks.append(
            Text(
                "Trained and tested on a subset of the images; the paper's values are on the whole."
            )
        )
    return Section("results", "Results", blocks)


def curves(found: Found) -> Section | None:
    """Return the comparison of learners: over tasks, and at the end."""
    runs = found.runs
    if not runs:
        return None
    shown = [run for run in runs if len(run.accuracy)]
    if not shown:
        return None
    accuracies = {_in_figure(run.label): run.accuracy for run in shown}
    paper = dict(zip(accuracies, (paper_values(run.summary) for run in shown), strict=True))
    ra, bti = (
        {label: values[name] for label, values in paper.items() if name in values}
        for name in ("ra_mean", "bti_mean")
    )
    over_tasks = picture(
        comparison.plot_curves(accuracies),
        "curves",
        "Mean accuracy on the tasks seen so far",
        f"A line for each of {', '.join(run.label for run in shown)}, after each task; its band is one standard "
        "deviation over seeds. The numbers are in the CSV file.",
        ("learner", "after task", "seed", "mean accuracy %"),
        (
            (run.label, task + 1, int(seed), 100 * float(value))
            for run in shown
            for seed, values in zip(
                run.results["seeds"][~run.results["diverged"]],
                drawing.mean_over_seen(run.accuracy),
                strict=True,
            )
            for task, value in enumerate(values)
        ),
    )
    diamond = ", a diamond for the paper's value" if ra or bti else ""
    ends = picture(
        comparison.plot_ends(accuracies, ra, bti),
        "ends",
        "RA and BTI at the end",
        f"A bar for each learner with its spread over seeds{diamond}; the numbers are those of the table of results.",
        ("learner", "RA", "RA std", "paper's RA", "BTI", "BTI std", "paper's BTI"),
        (
            (
                run.label,
                *(run.summary[name] for name in ("ra_mean", "ra_std")),
                paper_values(run.summary).get("ra_mean"),
                *(run.summary[name] for name in ("bti_mean", "bti_std")),
                paper_values(run.summary).get("bti_mean"),
            )
            for run in shown
        ),
    )
    return Section("curves", "Learners compared", [over_tasks, ends])


def each_run(found: Found) -> Section | None:
    """Return the pictures of each run alone."""
    runs = found.runs
    if not runs:
        return None
    return Section("runs", "Run by run", [Group(run.label, list(_pictures(run))) for run in runs])


def rates(found: Found) -> Section | None:
    """Return the microscope over learnt rates."""
    runs = found.runs
    if not runs:
        return None
    learnt = [run for run in runs if "rate_mean" in run.results]
    blocks = [block for run in learnt for block in microscope.look(run)]
    if without := [run for run in learnt if not run.rates]:
        labels = ", ".join(run.label for run in without)
        text = f"{labels}: only means of each layer. A run with --diagnostics keeps all rates for pictures here:"
        blocks.append(Text(text, code=_command(without[0])))
    return Section("microscope", "Learnt rates under the microscope", blocks) if blocks else None


SECTIONS: list[Builder] = [
    results,
    curves,
    inference.further_metrics,
    inference.statistics,
    each_run,
    rates,
    sweeping.sweeps,
    analysing.analyses,
    settings.settings,
]
"""All builders in the order of the page."""


_BESIDE = {
    "ra": ("paper's RA", "difference of RA"),
    "bti": ("paper's BTI", "difference of BTI"),
}
"""The columns beside ours, which are not there where the paper has no value for any run."""

_WIDTH = 26  # letters, of which a picture has room for two columns


def _result(run: Run) -> list[Cell]:
    summary, paper = run.summary, paper_values(run.summary)
    seconds = sum(summary[f"{part}_seconds"] for part in ("compile", "train", "eval"))

    def spread_of(name: str) -> float | None:
        return None if is_alone(summary) else summary[f"{name}_std"]

    def ours(name: str) -> Cell:
        return number(summary[f"{name}_mean"], std=spread_of(name))

    def beside(name: str) -> Iterator[Cell]:
        mean, std = summary[f"{name}_mean"], spread_of(name)
        theirs, spread = paper.get(f"{name}_mean"), paper.get(f"{name}_std")
        yield number(theirs, std=spread)
        if mean is None or theirs is None or spread is None:
            yield number(None)
        else:
            yield number(mean - theirs, std=None if std is None else float(np.hypot(std, spread)))

    return [
        word(run.label),
        *(ours("ra"), *beside("ra"), ours("la")),
        *(ours("bti"), *beside("bti"), ours("fwt")),
        number(summary["num_seeds"], 0),
        Cell(", ".join(map(str, summary["diverged_seeds"])) or "–", len(summary["diverged_seeds"])),
        number(seconds / 60, 1),
        number(summary.get("updates_per_second"), 0),
    ]


def _pictures(run: Run) -> Iterator[Block]:
    accuracy = run.accuracy
    if not len(accuracy):
        yield Text("All its seeds diverged.")
        return
    num_tasks = accuracy.shape[2]
    mean, std = drawing.over_seeds(100 * accuracy)
    seen, seen_std = drawing.over_seeds(100 * drawing.mean_over_seen(accuracy))
    tasks = [f"task {i + 1}" for i in range(num_tasks)]
    yield picture(
        figures.plot_accuracy_matrix(accuracy, "", split=run.split, narrow=True),
        anchor(run.label, "matrix"),
        "Accuracy matrix",
        f"{run.label}: mean {run.split} accuracy on every task (columns) after training on each (rows), dark for low "
        f"and bright for high; at the end {seen[-1]:.0f} % over all tasks.",
        ("after task", *tasks),
        ((row, *values) for row, values in enumerate(mean.tolist())),
    )
    yield picture(
        figures.plot_task_accuracies(accuracy, "", split=run.split, narrow=True),
        anchor(run.label, "tasks"),
        "Accuracy of each task",
        f"{run.label}: a line for each task from when it is learnt, and in black the mean over the tasks seen so far, "
        f"which ends at {seen[-1]:.0f} %.",
        (
            "after task",
            "mean over tasks seen",
            "its std",
            *tasks,
            *(f"{task} std" for task in tasks),
        ),
        (
            (row + 1, seen[row], seen_std[row], *mean[row + 1], *std[row + 1])
            for row in range(num_tasks)
        ),
    )
    yield from inside.look(run)
    if "rate_mean" in run.results:
        yield _rates(run)


def _rates(run: Run) -> Picture:
    whole = ~run.results["diverged"]
    means, shares = (run.results[n][whole] for n in ("rate_mean", "rate_share_nonpositive"))
    names = [str(name) for name in run.results["layer_names"]]
    (mean, mean_std), (share, share_std) = map(drawing.over_seeds, (means, 100 * shares))
    ends = zip(names, mean[-1], share[-1], strict=True)
    return picture(
        figures.plot_learning_rates(means, shares, run.results["layer_names"], "", narrow=True),
        anchor(run.label, "rates"),
        "Learnt rates of each layer",
        f"{run.label}: the mean rate of each layer after each task, and below the share of its rates at or below zero; "
        f"in the end {', '.join(f'{name} {m:.3f} ({s:.0f} %)' for name, m, s in ends)}.",
        ("after task", "layer", "mean rate", "its std", "at or below zero %", "its std"),
        (
            (row, name, mean[row, i], mean_std[row, i], share[row, i], share_std[row, i])
            for row in range(len(mean))
            for i, name in enumerate(names)
        ),
    )


def _command(run: Run) -> str:
    return (
        f"python -m experiments.train --benchmark={run.summary['benchmark']} --learner={run.summary['learner']} "
        "--diagnostics --data_dir=DATA --workdir=DIR"
    )


def _in_figure(label: str) -> str:
    """Return a label in short lines, which matplotlib does not read as a formula."""
    wrapper = textwrap.TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = label.replace("$", r"\$").replace(" (", "\n(").splitlines()
    return "\n".join(map(wrapper.fill, lines))
