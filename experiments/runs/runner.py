"""Run one configuration: train task by task, show progress, save after every task, write the results.

Dimensions: S runs (seeds, of a sweep point by point), T tasks.
"""

import contextlib
import functools
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from experiments.process import console, signals
from experiments.reporting.summary import summarise, title
from experiments.runs import (
    catalogue,
    descriptions,
    diagnostics,
    dynamics,
    events,
    metric_lines,
    workdirs,
)
from experiments.runs.config import Config
from experiments.runs.probes import PROBES
from lamaml_jax import Progress, train, training
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams import Benchmark
from lamaml_jax.training import Clock, saving
from lamaml_jax.training.recording import Record
from lamaml_jax.training.saving import CHECKPOINTS, DESCRIPTION

CHECKPOINT_MINUTES = 5.0
"""How often states are kept inside tasks, unless said otherwise."""


def run(
    config: Config,
    dataset: ImageDataset | None,
    workdir: pathlib.Path,
    *,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    diagnose: bool = False,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train and evaluate all runs of a configuration, or go on where an earlier call was interrupted.

    Args:
        config: What to run.
        dataset: The images; None where the benchmark is a user's own.
        workdir: Receives config.json, metrics.jsonl, results.npz, summary.json and the state after the last task (see
            `workdirs`).
        checkpoint_minutes: How often the state is kept inside tasks as well.
        diagnose: Keep all learnt rates of the first seed, and measure how all seeds learn (see `diagnostics` and
            `dynamics`). That is done between tasks: the programs that train and evaluate are the same.
        tensorboard: Write event files as well (see `events`).

    Returns:
        The summary, as in summary.json.

    Raises:
        ValueError: `workdir` holds another run, or a damaged file.
        Interrupted: A signal asked to stop; the state is kept.
    """
    workdirs.claim(workdir, config, dataset)
    summary = workdirs.read_summary(workdir)
    if summary is None:
        summary = _train(config, dataset, workdir, checkpoint_minutes, diagnose, tensorboard)
    elif diagnose or tensorboard:
        what = "diagnostics are kept" if diagnose else "event files are written"
        print(f"note: {workdir} is finished; {what} of runs only.", file=sys.stderr)
    return summary


def draw(config: Config, workdir: pathlib.Path) -> list[pathlib.Path]:
    """Draw the pictures of a finished run that are not there, and return the paths of all; failures are warnings."""
    drawn: list[pathlib.Path] = []
    with console.only_warned(f"{workdir} lacks pictures"):
        # An import that can fail in a user's surroundings.
        from experiments.reporting import pictures

        results, measured = workdirs.read_results(workdir), dynamics.read(workdir)
        split = config.eval_split()
        drawn = pictures.draw_run(workdir, results, title(config), measured, split=split)
    return drawn


def _train(
    config: Config,
    dataset: ImageDataset | None,
    workdir: pathlib.Path,
    checkpoint_minutes: float,
    diagnose: bool,
    tensorboard: bool,
) -> dict[str, Any]:
    benchmark = config.make_benchmark(dataset)
    _remove_damaged(config, benchmark, workdir)
    clock, done = Clock(time.perf_counter), 0
    with (
        descriptions.kept(workdir) as keep,
        contextlib.ExitStack() as stack,
        tqdm(
            desc=catalogue.short(config.learner), unit="task", dynamic_ncols=True, file=sys.stderr
        ) as bar,
    ):
        inside = workdirs.place(workdir).batches  # of a task, at whose end something is told next
        bar.set_postfix_str("going on inside a task" if inside else "compiling")
        writers: list[Callable[[Progress], None]] = []
        writers.append(functools.partial(metric_lines.write, workdir))
        if tensorboard:
            writers.append(stack.enter_context(events.writing(workdir, config.seeds)))
        if diagnose:
            writers.append(diagnostics.keeper(workdir, config, benchmark))

        def note(progress: Progress) -> None:
            nonlocal done
            keep()
            for write in writers:
                write(progress)
            if bar.total is None:
                bar.reset(total=len(progress.rows))
                bar.initial = bar.n = done = progress.done
            bar.set_postfix_str(_progress(progress.record, progress.row) if progress.done else "")
            bar.update(progress.done - done)
            done = progress.done

        should_stop = stack.enter_context(signals.asked_to_stop())
        result = train(
            **config.training(benchmark),
            eval=config.eval,
            eval_batch=config.eval_batch(),
            probe=PROBES[config.probe](config, benchmark) if config.probe else None,
            on_task=note,
            checkpoint_dir=workdir / CHECKPOINTS,
            checkpoint_seconds=60 * checkpoint_minutes,
            before_checkpoint=keep,
            should_stop=should_stop,
            clock=clock,
            **config.keywords,
        )
        keep()
        summary = finish(config, dataset, workdir, result.plan, result.record, clock, done)
    return summary


def finish(
    config: Config,
    dataset: ImageDataset | None,
    workdir: pathlib.Path,
    plan: training.Plan,
    record: Record,
    clock: Mapping[str, float],
    done: int,
) -> dict[str, Any]:
    """Write what a run measured, and return its summary.

    Args:
        config: What was run.
        dataset: The images.
        workdir: Of the run.
        plan: What was trained.
        record: What was measured.
        clock: How long the parts took.
        done: How many stages were learnt, fewer than there are where all runs diverged.
    """
    batches = len(config.runs().each()) * sum(map(plan.num_batches, range(done)))
    speed = batches * config.updates_per_batch() / clock["train"] if done else 0.0
    stream = jax.eval_shape(plan.stream.make_stream, jax.random.key(0))
    summary = {
        **summarise(config, config.name_of(dataset), record, clock, speed),
        "training_images_per_task": stream.train.image.shape[1],
        "evaluation_images_per_task": stream.test.image.shape[1],
    }
    workdirs.write_results(workdir, record, summary)
    return summary


def _remove_damaged(config: Config, benchmark: Benchmark, workdir: pathlib.Path) -> None:
    """Remove a learner.json that is not this run's, so that training writes it anew.

    config.json, which is the run's, says all that it says; so it must be damaged.
    """
    path = workdir / CHECKPOINTS / DESCRIPTION
    if not path.exists():
        return
    plan = training.plan(**config.training(benchmark), settings=config.keywords)
    evaluation = {"eval": config.eval, "eval_batch": config.eval_batch()}
    if not saving.is_claimed(path.parent, plan, evaluation):
        print(f"warning: {path} is damaged, and written anew.", file=sys.stderr)
        path.unlink()


def _progress(record: Record, row: int) -> str:
    diverged = record["diverged"]
    seen = record["accuracy"][~diverged, row, :row]
    of = "so far" if np.isfinite(seen).all() else "on the last task"
    text = f"accuracy {of} {100 * np.nanmean(seen):.1f} %" if len(seen) else "no seed is left"
    if not diverged.any():
        return text
    seeds = record["seeds"]
    is_sweep = len(set(seeds)) < len(seeds)
    which = f"{diverged.sum()} of {len(seeds)} runs" if is_sweep else seeds[diverged].tolist()
    return f"{text}, diverged: {which}"
