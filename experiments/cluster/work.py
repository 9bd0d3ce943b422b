"""Have Ray compute units, show how far all are, and let those go on whose process or machine died."""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from experiments.cluster import worker
from experiments.cluster.ray_cluster import Need
from experiments.cluster.units import Unit
from experiments.cluster.worker import Outcome
from experiments.process import options, signals
from experiments.runs import catalogue, workdirs
from lamaml_jax.checkpoint import Place
from lamaml_jax.datasets import ImageDataset

TRIES = 4
"""How often in a row a unit may end no further on than before, until it is given up."""

_POLL_SECONDS = 1.0
_STOP_SECONDS = 120.0


def perform(ray: Any, need: Need, units: Sequence[Unit], dataset: ImageDataset | None) -> list[str]:
    """Compute units that are not finished.

    Args:
        ray: The module, connected.
        need: What each takes.
        units: All.
        dataset: The images.

    Returns:
        Why units failed, a sentence each.

    Raises:
        SystemExit: A signal asked to stop; the states are kept.
    """
    # Ray's own retries have no end where memory is short, and tell nothing.
    takes = {"num_cpus": need.cpus, "num_gpus": need.gpus, "max_calls": 1, "max_retries": 0}
    remote = ray.remote(**takes)(_run_from(str(pathlib.Path(__file__).parents[2])))
    data = [] if dataset is None else [ray.put(dataset)]

    def begin(unit: Unit) -> Any:
        return remote.remote(_order(unit, need)._asdict(), data)

    at_work = {begin(unit): unit for unit in units if not workdirs.is_finished(unit.folder)}
    before: dict[str, tuple[Place, int]] = {}
    failed: list[str] = []
    names = dict.fromkeys(catalogue.short(unit.config.learner) for unit in units)
    with (
        tqdm(desc=",".join(names), unit="task", dynamic_ncols=True, file=sys.stderr) as bar,
        signals.asked_to_stop() as should_stop,
    ):
        bar.reset(total=sum(unit.stages for unit in units))
        while at_work:
            ended, _ = ray.wait(list(at_work), timeout=_POLL_SECONDS)
            _show(bar, units, len(at_work) - len(ended))
            if should_stop():
                _stop(ray, at_work, units)
            for reference in ended:
                unit = at_work.pop(reference)
                outcome = _outcome(ray, reference, unit)
                if outcome.kind == "done":
                    continue
                key = str(unit.folder)
                place, tries = before[key] = ended_at(unit.place(), before.get(key))
                if outcome.kind == "refused" or tries >= TRIES:
                    failed.append(_why(unit, outcome, need))
                    continue
                bar.write(
                    f"{unit.folder}: {outcome.sentence}; it goes on after {_in_words(place)}.",
                    file=sys.stderr,
                )
                at_work[begin(unit)] = unit
    return failed


def ended_at(place: Place, before: tuple[Place, int] | None) -> tuple[Place, int]:
    """Count how often in a row a unit has ended no further on, this time included.

    Args:
        place: Where it ended, which may be inside a task.
        before: What this has returned the time before, if there was one.

    Returns:
        The place, and how often.
    """
    return place, 1 if before is None or place > before[0] else before[1] + 1


def _in_words(place: Place) -> str:
    batches = f" and {place.batches} batches of the next" if place.batches else ""
    return f"{place.stage} tasks{batches}"


def _order(unit: Unit, need: Need) -> worker.Order:
    return worker.Order(
        dataclasses.asdict(unit.config),
        str(unit.folder.resolve()),
        unit.num_runs,
        need.cpus,
        need.gpus,
        options.CHECKPOINT_MINUTES.value,
        worker.environment(),
        os.getcwd(),
    )


def _run_from(root: str) -> Callable[[dict[str, Any], list[Any]], Any]:
    """Return `worker.run` for a process that knows the modules of the checkout only once it is told where that is."""

    # Ray sends a function within a function as it is, and others by the names of modules, which are not found yet.
    def run(order: dict[str, Any], data: list[Any]) -> Any:
        import sys

        if root not in sys.path:
            sys.path.insert(0, root)
        from experiments.cluster import worker

        return worker.run(worker.Order(**order), data)

    return run


def _outcome(ray: Any, reference: Any, unit: Unit) -> Outcome:
    """Return how a unit ended, also where its process could not say so."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        reason = (str(error.cause).strip() or "no reason is given").splitlines()[0]
        return Outcome(
            "refused", f"unit {unit.folder} failed: {type(error.cause).__name__}: {reason}"
        )
    except ray.exceptions.OutOfMemoryError:
        return Outcome("memory", "Ray ended it, as its machine ran out of memory")
    except ray.exceptions.NodeDiedError:
        return Outcome("died", "its machine died")
    except ray.exceptions.RayError:
        return Outcome("died", "its process died")


def _why(unit: Unit, outcome: Outcome, need: Need) -> str:
    """Return in one sentence why a unit is given up."""
    if outcome.kind == "refused":
        return outcome.sentence
    what = f"unit {unit.folder} is given up after {TRIES} tries"
    kept = "its state is kept, and the same command goes on"
    if outcome.kind == "memory":
        runs = len(unit.config.runs().each())
        return (
            f"{what}, as memory is short ({outcome.sentence}); {kept}: pass a higher --unit_cpus, now {need.cpus}, so "
            f"that fewer units share a machine, or begin in a new folder with a lower --unit_runs, now {runs}."
        )
    return f"{what}, the last of which ended as {outcome.sentence}; {kept}."


def _show(bar: tqdm, units: Sequence[Unit], at_work: int) -> None:
    """Show how many tasks of all units are learnt; a unit that ended early, as its runs diverged, counts whole."""
    bar.n = sum(unit.place().stage for unit in units)
    bar.set_postfix_str(f"{len(units) - at_work} of {len(units)} units ended", refresh=False)
    bar.refresh()


def _stop(ray: Any, at_work: Mapping[Any, Unit], units: Sequence[Unit]) -> None:
    """Have the units at work keep their states, and end the process."""
    for reference in at_work:
        ray.cancel(reference)
    ended, late = ray.wait(list(at_work), num_returns=len(at_work), timeout=_STOP_SECONDS)
    cut = len(late)
    for reference in ended:
        try:
            cut += ray.get(reference).kind not in ("done", "stopped")
        except ray.exceptions.TaskCancelledError:
            pass  # before it had begun
        except ray.exceptions.RayError:
            cut += 1
    print(stopped(sum(unit.place().stage for unit in units), units, cut), file=sys.stderr)
    sys.exit(signals.UNFINISHED)


def stopped(done: int, units: Sequence[Unit], cut: int) -> str:
    """Say how far units were when they were stopped, of which so many were cut off and did not keep where they were."""
    what = f"stopped after {done} of {sum(unit.stages for unit in units)} tasks of all units"
    if not cut:
        return f"{what}, whose states are kept; the same command goes on."
    return (
        f"{what}, {cut} of which did not keep where they were and go on from an earlier state; the same command goes "
        "on."
    )
