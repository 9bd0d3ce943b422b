"""The table of a result, and what is said below it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lamaml_jax import hyper
from lamaml_jax.training.recording import evaluated

if TYPE_CHECKING:
    from lamaml_jax.training.result import Result


def tabulate(result: "Result") -> str:
    """Return a Markdown table with a row per point, and below it where training stopped early, or runs diverged."""
    of_classes = "accuracy" in result.record
    names = ("RA", "LA", "BTI") if of_classes else ("loss", "learnt", "rise")
    points, num_seeds = result.plan.runs.points, len(result.plan.runs.seeds)
    swept = list(dict.fromkeys(name for point in points for name in point))
    values = result.metrics()
    rows = [[*swept, *names, "seeds"], ["---"] * (len(swept) + 4)]
    for i, point in enumerate(points):
        runs = slice(i * num_seeds, (i + 1) * num_seeds)
        whole = ~result.diverged[runs]
        cells = [_cell(values[n][runs][whole], of_classes) for n in ("ra", "la", "bti")]
        lost = ", ".join(map(str, result.seeds[runs][~whole]))
        note = f"{whole.sum()} (seed {lost} diverged)" if lost else f"{whole.sum()}"
        rows.append([*(shown(point.get(name)) for name in swept), *cells, note])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join((table, *_notes(result)))


def shown(value: float | None) -> str:
    """Return a point's value as text, an integer whole; a dash where a point has none."""
    if value is None:
        return "–"
    return f"{value}" if isinstance(value, int) else f"{value:g}"


def _cell(values: np.ndarray, of_classes: bool) -> str:
    """Return mean and deviation over seeds: percent with two decimals, losses with four digits and two."""
    if not len(values) or np.isnan(values).any():
        return "–"
    if np.isinf(values).any():  # mean losses that overflowed
        return f"{values[np.isinf(values)][0]}"
    if of_classes:
        mean, deviation = f"{100 * values.mean():.2f}", f"{100 * values.std():.2f}"
    else:
        mean, deviation = f"{values.mean():.4g}", f"{values.std():.2g}"
    return mean if len(values) == 1 else f"{mean} ± {deviation}"


def _notes(result: "Result") -> Iterator[str]:
    """Yield what is said below the table."""
    if result.diverged.any():
        names_of: dict[str, list[str]] = {}
        for run in np.flatnonzero(result.diverged).tolist():
            names_of.setdefault(_where(result, run), []).append(str(run))
        lost = "; ".join(
            f"run{'s' * (len(runs) > 1)} {', '.join(runs)} {where}"
            for where, runs in names_of.items()
        )
        can_clip = "clip_norm" in hyper.names(result.plan.learner)
        advice = (
            "Smaller rates or a `clip_norm` may help." if can_clip else "Smaller rates may help."
        )
        yield f"Diverged: {lost}. {advice}"
    done, total = result.stages_learnt(), len(result.plan.rows)
    if done < total and not result.diverged.all():
        yield f"Stopped after {done} of {total}."


def _where(result: "Result", run: int) -> str:
    """Return where a run was lost: where its first row without a number is."""
    values = result.record[evaluated(result.plan)][run, [0, *result.plan.rows]]
    index = int(np.isnan(values).all(axis=1).argmax())
    tasks = result.plan.tasks()
    if index == 0:
        return "before training"
    if result.plan.is_mixed():
        return "in training"
    return f"in part {index - 1}" if tasks is None else f"in task {tasks[index - 1]}"
