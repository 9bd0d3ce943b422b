"""What a run says in the end: its summary, and tables with the paper's values beside ours."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments import presets
from experiments.reporting.tables import markdown
from experiments.runs import catalogue
from experiments.runs.config import Config
from lamaml_jax import metrics

METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ra": metrics.retained_accuracy,
    "la": metrics.learning_accuracy,
    "bti": metrics.backward_transfer,
    "fwt": metrics.forward_transfer,
}
"""Of an accuracy matrix, by name."""

INSIDE_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "min_acc": metrics.minimum_accuracy,
    "wc_acc": metrics.worst_case_accuracy,
    "stability_gap": metrics.stability_gap,
}
"""Of an accuracy matrix and the evaluations inside tasks, by name."""

TITLES = {
    "la_maml": "La-MAML",
    "sync_la_maml": "Sync La-MAML",
    "c_maml": "C-MAML",
    "la_der": "La-DER",
    "la_er": "La-ER",
    "er": "ER",
    "mer": "MER",
    "gem": "GEM",
    "agem": "A-GEM",
    "fs_dgpm": "FS-DGPM",
    "icarl": "iCaRL",
    "ewc": "EWC",
    "bgd": "BGD",
    "meta_bgd": "Meta-BGD",
    "hat": "HAT",
    "ucb": "UCB",
    "online": "Online",
    "iid": "IID",
}


def title_of(learner: str) -> str:
    """Return what tables and pictures call a learner: its published name, or that of a user's function."""
    return TITLES.get(learner, catalogue.short(learner))


def summarise(
    config: Config,
    data: str,
    record: Mapping[str, np.ndarray],
    clock: Mapping[str, float],
    updates_per_second: float,
) -> dict[str, Any]:
    """Return the final numbers of a run: accuracies in percent, mean and standard deviation over seeds.

    A run that was evaluated inside tasks has INSIDE_METRICS as well. Diverged seeds are left out. The deviation is that
    of the seeds at hand (divided by S). None stands for what is undefined, which over the points of a sweep all of it
    is.
    """
    values: dict[str, float | None] = {}
    counts = ~record["diverged"] & (len(config.points) == 1)
    accuracy = record["accuracy"][counts].astype(np.float64)
    measured = {name: metric(accuracy) for name, metric in METRICS.items()}
    if "inside_accuracy" in record:
        inside = record["inside_accuracy"][counts].astype(np.float64)
        measured |= {name: metric(accuracy, inside) for name, metric in INSIDE_METRICS.items()}
    for name, fractions in measured.items():
        percent = 100 * fractions
        values[f"{name}_mean"] = _defined(percent.mean()) if len(percent) else None
        values[f"{name}_std"] = _defined(percent.std()) if len(percent) else None
    return {
        "benchmark": config.benchmark,
        "learner": config.learner,
        "protocol": config.protocol,
        "semantics": config.semantics,
        "order": config.keywords.get("order"),
        "data": data,
        "standard_stream": config.is_standard_stream(),
        "num_seeds": len(config.seeds),
        "num_points": len(config.points),
        **values,
        "diverged_seeds": record["seeds"][record["diverged"]].tolist(),
        "compile_seconds": clock["compile"],
        "train_seconds": clock["train"],
        "eval_seconds": clock["eval"],
        "updates_per_second": updates_per_second,
    }


def is_summary(found: Any) -> bool:
    """Return whether this is what `summarise` returned for some run, as far as tables need it."""
    names = {"benchmark", "learner", "protocol", "data", "standard_stream", "num_seeds"}
    names |= {f"{name}_{kind}" for name in METRICS for kind in ("mean", "std")}
    names |= {f"{name}_seconds" for name in ("compile", "train", "eval")}
    described = isinstance(found, dict) and names <= set(found)
    return described and isinstance(found.get("diverged_seeds"), list)


def seeds_in_words(number: int) -> str:
    """Return how many seeds there are."""
    return "1 seed" if number == 1 else f"{number} seeds"


def in_words(
    mean: float | None, std: float | None, form: str = ".2f", form_std: str | None = None
) -> str:
    """Return a mean ± standard deviation, a mean alone where there is no spread, a dash where there is no mean.

    Args:
        mean: None or NaN where there is none.
        std: The same.
        form: How numbers are written, as `format` takes it.
        form_std: The same of the deviation; as `form` by default.
    """
    if mean is None or math.isnan(mean):
        return "–"
    text = format(mean, form)
    return text if std is None or math.isnan(std) else f"{text} ± {std:{form_std or form}}"


def spread(values: np.ndarray, axis: int = -1) -> Any:
    """Return the standard deviation over seeds (divided by S), NaN of a single one, which has none."""
    return np.where(values.shape[axis] > 1, values.std(axis=axis), np.nan)


def is_alone(summary: Mapping[str, Any]) -> bool:
    """Return whether a summary's numbers are of one seed, and have no spread."""
    return summary.get("num_seeds", 0) - len(summary.get("diverged_seeds", ())) == 1


def title(config: Config) -> str:
    """Return the line above a run's figures."""
    return f"{title_of(config.learner)} on {catalogue.short(config.benchmark)}, {seeds_in_words(len(config.seeds))}"


def paper_values(run: Mapping[str, Any]) -> dict[str, float]:
    """Return the paper's ra_mean, ra_std, bti_mean and bti_std for a summary's run, in percent, as far as it has them.

    There are none for streams of another length or with other heads than the paper's.
    """
    if not run["standard_stream"]:
        return {}
    wanted = [run["benchmark"], run["protocol"], run["learner"]]
    for row in presets.read_table(presets.PAPER_RESULTS):
        if [row["benchmark"], row["protocol"], row["learner"]] == wanted:
            names = ("ra_mean", "ra_std", "bti_mean", "bti_std")
            return {n: float(row[n]) for n in names if not math.isnan(float(row[n]))}
    return {}


def comparison_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of learners, in percent, beside the paper's where it has values for one of them."""
    papers = [paper_values(summary) for summary in summaries]
    beside = ("ra", "bti") if any(papers) else ()
    headings = ["learner", "RA", "LA", "BTI", *(f"paper's {name.upper()}" for name in beside)]
    rows = []
    for summary, paper in zip(summaries, papers, strict=True):
        cells = [_plus_minus(summary, name) for name in ("ra", "la", "bti")]
        cells += [_plus_minus(paper, name) for name in beside]
        diverged = summary["diverged_seeds"]
        seeds = "seed" if len(diverged) == 1 else "seeds"
        note = f" ({seeds} {', '.join(map(str, diverged))} diverged)" if diverged else ""
        rows.append([f"{title_of(summary['learner'])}{note}", *cells])
    return "\n\n".join([markdown([headings, *rows]), *of_images(summaries)])


def of_images(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return sentences on the images that runs of one benchmark saw, where they have to be said."""
    lines = []
    if any(s["data"].endswith("_subset") and paper_values(s) for s in summaries):
        lines.append(
            "Trained and tested on a subset of the images; the paper's values are on the whole."
        )
    if summaries and summaries[0]["benchmark"].startswith("split"):
        train, evaluation = (
            summaries[0][f"{part}_images_per_task"] for part in ("training", "evaluation")
        )
        lines.append(f"Each task: {train} training images, evaluated on {evaluation}.")
    return lines


def inside_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of what evaluations inside tasks show of learners, in percent."""
    lines = ["| learner | min-ACC | WC-ACC | stability gap |", "| --- | --- | --- | --- |"]
    for summary in summaries:
        cells = [_plus_minus(summary, name) for name in INSIDE_METRICS]
        lines.append(f"| {title_of(summary['learner'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _plus_minus(values: Mapping[str, Any], name: str) -> str:
    mean, std = values.get(f"{name}_mean"), values.get(f"{name}_std")
    return in_words(mean, None if is_alone(values) else std)


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
