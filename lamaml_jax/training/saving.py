"""A result in files that any reader of JSON and NumPy's npz can open: learner.json, learner.npz and results.npz.

learner.json says what was trained, learner.npz holds the learners' states, each array `[R, ...]` under its path, and
results.npz all that was measured. Nothing is pickled, so that what is a function is not in them: it is given again. A
folder of checkpoints has a learner.json as well, and the states in its last checkpoint.
"""

import itertools
import json
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from lamaml_jax import checkpoint
from lamaml_jax.files import read_npz, write_whole
from lamaml_jax.training import description, fingerprints
from lamaml_jax.training.planning import Plan, state_shapes
from lamaml_jax.training.planning.fitting import example
from lamaml_jax.types import State

DESCRIPTION, STATE, RESULTS = "learner.json", "learner.npz", "results.npz"
CHECKPOINTS = "state"
"""The folder of checkpoints in a script's work directory."""
METHOD, PROBE = "sha256_learner", "sha256_probe"
"""Fingerprints of what is a function; that of no probe is None."""
_EVALUATION = ("eval", "eval_batch", PROBE)
"""What the description of a folder of checkpoints has besides, which changes nothing of what is trained."""
_LATER = (description.OWN, description.STAGES, fingerprints.PARTS, METHOD, PROBE)
"""What descriptions lack that were written before it was in them."""
_GIVEN = ("sha256_data", "sha256_transforms", "sha256_network")
"""Fingerprints of what a user gives, which may have changed though its name has not."""


def save(
    directory: pathlib.Path, plan: Plan, record: Mapping[str, np.ndarray], state: State
) -> None:
    """Write a result's files, each whole or not at all; see `Result.save`."""
    described = _described(plan)
    text = _text(described)
    # One that is there agrees, and may say how its checkpoints are evaluated as well.
    if is_described := (directory / DESCRIPTION).exists():
        _refuse_others(directory / DESCRIPTION, described, "directory")
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint.write(directory / STATE, state)
    with write_whole(directory / RESULTS) as file:
        np.savez_compressed(file, allow_pickle=False, **dict(sorted(record.items())))
    if not is_described:
        _write_description(directory / DESCRIPTION, text)


def claim(directory: pathlib.Path, plan: Plan, evaluation: Mapping[str, Any]) -> None:
    """Write learner.json into a folder of checkpoints, or check that it is of these runs.

    Args:
        directory: The folder.
        plan: What is trained.
        evaluation: How it is evaluated.

    Raises:
        ValueError: It is of others, or damaged.
    """
    path, wanted = directory / DESCRIPTION, {**_described(plan), **evaluation}
    text = _text(wanted)
    if path.exists():
        _refuse_others(path, wanted, "checkpoint_dir")
        return
    directory.mkdir(parents=True, exist_ok=True)
    _write_description(path, text)


def is_claimed(directory: pathlib.Path, plan: Plan, evaluation: Mapping[str, Any]) -> bool:
    """Return whether learner.json in a folder of checkpoints is what `claim` writes there, whatever is given.

    Another learner's or probe's code is no damage, nor are other data or another network: they are left to `claim` to
    refuse.
    """
    try:
        found = _read_description(directory / DESCRIPTION)
    except ValueError:
        return False
    wanted = json.loads(_text({**description.describe(plan), **evaluation}))
    differing = set(_differing(wanted, found))
    return bool(differing & set(_GIVEN)) or not differing - set(_LATER)


def load(
    directory: pathlib.Path, given: Mapping[str, Any]
) -> tuple[Plan, dict[str, np.ndarray], State]:
    """Return what `save` has written, or a script's run in its work directory; see `Result.load`.

    It warns where what is given computes something else than what was trained, as far as can be told.

    Raises:
        ValueError: A file is missing or damaged, or something must be given.
    """
    of_run = directory / CHECKPOINTS
    home = of_run if (of_run / DESCRIPTION).exists() else directory
    if not (directory / RESULTS).exists() and checkpoint.saved(home):
        raise ValueError(
            f"{directory} holds checkpoints and no results; the same call of train returns the result, and its save "
            "keeps it."
        )
    found = _read_description(home / DESCRIPTION)
    plan, shapes = description.planned(found, given)
    record = read_arrays(directory / RESULTS)
    state = _read_state(home, state_shapes(plan, shapes))
    if others := fingerprints.others(plan, shapes, found, given):
        warnings.warn(
            f"{' and '.join(others)} given to load for {directory} may be another than was trained, as a fingerprint "
            "differs, which tells code and versions of JAX apart; scores may differ.",
            stacklevel=3,
        )
    return plan, record, state


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name.

    Raises:
        ValueError: The file is missing or damaged.
    """
    try:
        return read_npz(path)
    except (OSError, ValueError):
        raise ValueError(f"{path} is missing or damaged.") from None


def _refuse_others(path: pathlib.Path, wanted: Mapping[str, Any], argument: str) -> None:
    found, wanted = _read_description(path), json.loads(_text(wanted))
    if argument != "checkpoint_dir":
        found, wanted = (
            {n: v for n, v in of.items() if n not in _EVALUATION} for of in (found, wanted)
        )
    differing = _differing(wanted, found)
    if differing == [PROBE]:
        _refuse_another_probe(path, wanted.get(PROBE), found[PROBE])
    if differing:
        inside = [_inside(n, wanted.get(n), found.get(n)) for n in differing]
        named = dict.fromkeys(itertools.chain(*inside))
        raise ValueError(
            f"{argument} is {str(path.parent)!r}, whose runs differ in {', '.join(named)}; it must be a new folder, or "
            "one of the same runs."
        )


def _differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs; the learner's code only where nothing else does that it may show."""
    unknown = [n for n in _LATER if n not in found]
    names = [n for n in {**wanted, **found} if n not in unknown]
    differing = [n for n in names if wanted.get(n) != found.get(n)]
    return [n for n in differing if n != METHOD] or differing


def _refuse_another_probe(path: pathlib.Path, wanted: str | None, found: str | None) -> NoReturn:
    begun = "without one" if found is None else "with one" if wanted is None else "with another"
    raise ValueError(
        f"probe is {'not given' if wanted is None else 'given'}; checkpoint_dir {str(path.parent)!r} holds runs that "
        f"were begun {begun}, so it must be the same again, or checkpoint_dir a new folder."
    )


def _inside(name: str, wanted: Any, found: Any) -> list[str]:
    """Return the names of the settings that differ, as a user gives them, of what holds several."""
    if name == "points":
        wanted, found = _columns(wanted), _columns(found)
    elif name not in ("settings", "floats", "setting"):
        return [name]
    names = {**wanted, **found}
    return [n for n in names if wanted.get(n) != found.get(n)] or [name]


def _columns(points: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Return the values of every swept setting, point by point."""
    return {name: [point.get(name) for point in points] for point in points for name in point}


def _read_state(home: pathlib.Path, like: State) -> State:
    advice = "load it with the learner and the model that were trained"
    path = home / STATE
    try:
        if not path.exists() and (places := checkpoint.saved(home)):
            path = home / places[-1].name
            return checkpoint.read(path, {"state": like}, partly=True, advice=advice)["state"]
        return checkpoint.read(path, like, advice=advice)
    except OSError:
        raise ValueError(f"{path} cannot be read; it must be a saved learner.") from None


def _described(plan: Plan) -> dict[str, Any]:
    if plan.described is not None:
        return dict(plan.described)
    described = description.describe(plan)
    # Of the package's own methods the name says all, and tracing one can take a second.
    if described[description.OWN] or described["functions"] or described["setting"]["loss"]:
        described[METHOD] = fingerprints.of_learner(plan, example(plan.stream))
    return described


def _text(described: Mapping[str, Any]) -> bytes:
    return json.dumps(described, indent=2).encode() + b"\n"


def _write_description(path: pathlib.Path, text: bytes) -> None:
    with write_whole(path) as file:
        file.write(text)


def _read_description(path: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    is_ours = isinstance(found, dict) and found.get("format") == description.FORMAT
    if not is_ours or not set(description.NAMES) <= set(found):
        raise ValueError(f"{path} is missing or damaged; it must be one that a result has saved.")
    return found
