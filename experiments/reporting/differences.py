"""How two runs, A and B, differ, in lines of text: "what: in A | in B".

Dimensions: S seeds, T tasks, E evaluations inside a task.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.runs import identity
from lamaml_jax.training.recording import OF_ALL

_AFTER = ("accuracy", "rate_mean", "rate_share_nonpositive")
"""Arrays `[S, T + 1, ...]` of what is measured after t tasks; other numbers `[S, T, ...]` are of a task's training."""

_INSIDE = ("inside_accuracy", "inside_eval_loss")
"""Arrays `[S, T, E, ...]` of evaluations inside tasks."""


class First(NamedTuple):
    """A number that differs; the lowest one is the first.

    Attributes:
        task: After or during which it was measured; 0 is before training.
        seed: The run's.
        is_after: Whether it was measured after the task, and not in training on it.
        place: In what the array has of the task and seed.
        name: Of the array.
        values: Of the two runs.
    """

    task: int
    seed: int
    is_after: bool
    place: tuple[int, ...]
    name: str
    values: tuple[float, float]


def of_descriptions(
    first: Mapping[str, Any], second: Mapping[str, Any], parts: tuple[str, ...]
) -> list[str]:
    """Return what differs in the parts of two runs' config.json, a line each."""
    pairs = [
        pair
        for part in parts
        for pair in identity.differing(
            first.get(part, {}), second.get(part, {}), "" if part == "settings" else part
        )
    ]
    return [f"{name}: {ours} | {theirs}" for name, ours, theirs in pairs]


def of_data(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return what differs of two runs' images; that they came from elsewhere is no difference."""
    if first["data"].get("sha256") == second["data"].get("sha256"):
        return []
    return of_descriptions(first, second, ("data",))


def of_results(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> list[str]:
    """Return what differs of two results.npz: the first number, then each array, as far as both go.

    Numbers are the same if all bits are. A number that only one run has, such as the accuracy of a task that the other
    did not evaluate, is not compared but counted. Of evaluations inside tasks those after as many batches are compared.
    """
    lines = [f"{name}: only in {side}" for name, side in _alone(first, second)]
    if not np.array_equal(first["seeds"], second["seeds"]):
        lines.append(f"seeds: {_listed(first['seeds'])} | {_listed(second['seeds'])}")
    seeds, rows, other_rows = _same_seeds(first["seeds"].tolist(), second["seeds"].tolist())
    moments, other_moments = _same_moments(first, second)
    firsts: list[First] = []
    for name in first:
        if name == "seeds" or name not in second:
            continue
        a, b = first[name], second[name]
        if name in _INSIDE:
            a, b = a[:, :, moments], b[:, :, other_moments]
        if name in OF_ALL:
            lines += [] if np.array_equal(a, b) else [f"{name}: {_listed(a)} | {_listed(b)}"]
            continue
        if a.ndim != b.ndim or a.shape[1:] != b.shape[1:]:
            lines.append(f"{name}: of shape {_shape(a)} | {_shape(b)} for each seed")
        if a.ndim == b.ndim and seeds:
            a, b = _common(a[rows], b[other_rows])
            lines += _counted(name, a, b)
            firsts += _first(name, a, b, seeds)
    return [*([_in_words(min(firsts))] if firsts else []), *lines]


def _alone(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((name, "A") for name in first if name not in second)
    yield from ((name, "B") for name in second if name not in first)


def _same_seeds(first: list[int], second: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Return the seeds of both, and where each has them; once for each point of a sweep that both have."""
    ours, theirs = _places(first), _places(second)
    both = [run for run in ours if run in theirs]
    return [seed for _, seed in both], [ours[run] for run in both], [theirs[run] for run in both]


def _places(seeds: list[int]) -> dict[tuple[int, int], int]:
    """Return where each seed is, by how often it was there before, and itself."""
    before: Counter[int] = Counter()
    places = {}
    for i, seed in enumerate(seeds):
        places[before[seed], seed] = i
        before[seed] += 1
    return places


def _same_moments(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> tuple[np.ndarray | slice, np.ndarray | slice]:
    """Return where each has the evaluations that both made after as many batches of a task."""
    if "inside_batches" not in first or "inside_batches" not in second:
        return slice(None), slice(None)
    _, ours, theirs = np.intersect1d(
        first["inside_batches"], second["inside_batches"], return_indices=True
    )
    return ours, theirs


def _common(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    part = tuple(slice(min(sizes)) for sizes in zip(a.shape, b.shape, strict=True))
    return a[part], b[part]


def _counted(name: str, a: np.ndarray, b: np.ndarray) -> Iterator[str]:
    differs = _differs(a, b)
    if differs.any():
        share = f"{name}: {differs.sum()} of {differs.size} numbers differ"
        if a.dtype != bool:
            with np.errstate(invalid="ignore"):
                share += f", by at most {np.abs(a.astype(float) - b)[differs].max():.3g}"
        yield share
    for side, have in (("A", np.isnan(b) & ~np.isnan(a)), ("B", np.isnan(a) & ~np.isnan(b))):
        if have.any():
            yield f"{name}: {have.sum()} of {have.size} numbers are in {side} only"


def _first(name: str, a: np.ndarray, b: np.ndarray, seeds: list[int]) -> Iterator[First]:
    """Yield the first number of each seed that differs, if it is of a task."""
    if a.ndim < 2:
        return
    differs, is_after = _differs(a, b), name in _AFTER
    for i, seed in enumerate(seeds):
        if differs[i].any():
            row, *index = (int(j) for j in np.argwhere(differs[i])[0])
            values = (float(a[i, row][tuple(index)]), float(b[i, row][tuple(index)]))
            yield First(row + (not is_after), seed, is_after, tuple(index), name, values)


def _differs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Say where both have a number and these are not the same."""
    return (a != b) & ~np.isnan(a) & ~np.isnan(b)


def _in_words(first: First) -> str:
    if first.task == 0:
        when = "before training"
    else:
        when = f"{'after' if first.is_after else 'in training on'} task {first.task}"
    place = f"[{', '.join(map(str, first.place))}]" if first.place else ""
    ours, theirs = (f"{value:.9g}" for value in first.values)
    return f"first: {when}, seed {first.seed}: {first.name}{place} is {ours} | {theirs}"


def _listed(values: np.ndarray) -> str:
    return " ".join(map(str, values.tolist()))


def _shape(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, array.shape[1:]))}]"
