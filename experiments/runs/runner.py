"""Run one configuration: train task by task, show progress, save after every task, write the results.

Dimensions: S runs (seeds, of a sweep point by point), T tasks, L layers.
"""

import contextlib
import itertools
import pathlib
import sys
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from experiments.process import console
from experiments.reporting.summary import summarise, title
from experiments.runs import diagnostics, dynamics, events, workdirs
from experiments.runs.config import Config
from experiments.runs.program import Clock, Program, build
from lamaml_jax import checkpoint, loop, metrics, parallel
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams import Benchmark
from lamaml_jax.types import State

Record = dict[str, np.ndarray]
"""What a run has measured so far: arrays that start with the axis of runs, NaN where nothing was measured yet."""


def run(
    config: Config,
    dataset: ImageDataset,
    workdir: pathlib.Path,
    *,
    diagnose: bool = False,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train and evaluate all runs of a configuration, or go on where an earlier call was interrupted.

    Args:
        config: What to run.
        dataset: The images.
        workdir: Receives config.json, metrics.jsonl, results.npz, summary.json and the state after the last task (see
            `workdirs`).
        diagnose: Keep all learnt rates of the first seed, and measure how all seeds learn (see `diagnostics` and
            `dynamics`). That is done between tasks: the programs that train and evaluate are the same.
        tensorboard: Write event files as well (see `events`).

    Returns:
        The summary, as in summary.json.

    Raises:
        ValueError: `workdir` holds another run, or a damaged file.
    """
    workdirs.claim(workdir, config, dataset)
    summary = workdirs.read_summary(workdir)
    if summary is None:
        summary = _train(config, dataset, workdir, diagnose, tensorboard)
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
        drawn = pictures.draw_run(workdir, results, title(config), measured)
    return drawn


def _train(
    config: Config, dataset: ImageDataset, workdir: pathlib.Path, diagnose: bool, tensorboard: bool
) -> dict[str, Any]:
    benchmark = config.make_benchmark(dataset)
    num_tasks = benchmark.setting.num_tasks
    # Of a mixed stream there is only a before and an after.
    num_stages = 1 if "mixed_stream" in config.needs() else num_tasks
    rows = [*range(1, num_stages), num_tasks]  # of the accuracy matrix, after each stage
    clock = Clock(compile=0.0, train=0.0, eval=0.0)
    with (
        contextlib.ExitStack() as stack,
        tqdm(
            total=num_stages, desc=config.learner, unit="task", dynamic_ncols=True, file=sys.stderr
        ) as bar,
    ):
        bar.set_postfix_str("compiling")
        program = build(config, benchmark, clock, diagnose=diagnose)
        record = _empty_record(config, benchmark, program)
        infos = sorted(program.log.infos)
        state, done = program.start, 0

        def snapshot() -> dict[str, Any]:
            return {"state": program.save(state), "record": record, "clock": dict(clock)}

        if saved := checkpoint.restore(workdir / "state", snapshot()):
            done, tree = saved
            state, record, clock = program.load(tree["state"]), tree["record"], Clock(tree["clock"])
        else:
            with clock.on("eval"):
                _note_accuracy(record, program.evaluate(state, 0, num_tasks), 0, 0, num_tasks)
        workdirs.write_metrics(workdir, record, done, rows, infos)
        if tensorboard:
            layers = metrics.layer_names(state.lrs) if "rate_mean" in record else []
            write_events = stack.enter_context(
                events.writing(workdir, config.seeds, rows, infos, layers)
            )
            write_events(record, done)
        if diagnose:
            keep = diagnostics.keeper(workdir, program, state, len(config.runs()), num_tasks)
            keep(state, done, {})
        bar.initial = bar.n = done
        for task in range(done, num_stages):
            if record["diverged"].all():
                break
            row = rows[task]
            for name, values in program.probe(state, task).items():
                record[name][:, task] = values
            arriving = program.measure(state, task)
            state, log = _learn(program, record, clock, state, task)
            _note_training(record, log, task)
            # LA takes the task just learnt, FWT the next one, the picture of all tasks' accuracies those seen so far.
            tasks = {"all": (0, num_tasks), "seen": (0, task + 2), "needed": (task, task + 2)}
            first, stop = (0, num_tasks) if row == num_tasks else tasks[config.eval]
            with clock.on("eval"):
                accuracy = program.evaluate(state, first, stop)
            _note_accuracy(record, accuracy, row, first, stop)
            workdirs.write_metrics(workdir, record, task + 1, rows, infos)
            if tensorboard:
                write_events(record, task + 1)
            if diagnose:
                keep(state, row, arriving)
            checkpoint.save(workdir / "state", task + 1, snapshot())
            bar.set_postfix_str(_progress(record, row))
            bar.update()
            done += 1
    if "rate_mean" in record:
        record["layer_names"] = np.array(metrics.layer_names(state.lrs))
    if inside := config.inside_batches(benchmark.setting):
        record["inside_batches"] = np.array(inside)
    batches = len(config.runs()) * done * record["loss"].shape[-1]
    updates = batches * config.updates_per_batch()
    updates_per_second = updates / clock["train"] if done else 0.0
    stream = jax.eval_shape(benchmark.make_stream, jax.random.key(0))
    summary = {
        **summarise(config, config.name_of(dataset), record, clock, updates_per_second),
        "training_images_per_task": stream.train.image.shape[1],
        "evaluation_images_per_task": stream.test.image.shape[1],
    }
    workdirs.write_results(workdir, record, summary)
    return summary


def _learn(
    program: Program, record: Record, clock: Clock, state: State, task: int
) -> tuple[State, loop.TaskLog]:
    """Train on a task, and evaluate inside it where that is asked for."""
    parts = program.train(state, task)
    for evaluation in itertools.count():
        with clock.on("train"):
            state, log = jax.block_until_ready(next(parts))
        if log is not None:
            break
        with clock.on("eval"):
            accuracy = program.evaluate(state, 0, task + 1)
        record["inside_accuracy"][:, task, evaluation] = accuracy
    return state, log


def _empty_record(config: Config, benchmark: Benchmark, program: Program) -> Record:
    seeds = np.array([seed for _, seed in config.runs()])
    num_runs, num_tasks = len(seeds), benchmark.setting.num_tasks
    record = {
        "seeds": seeds,
        "accuracy": np.full((num_runs, num_tasks + 1, num_tasks), np.nan, np.float32),
        "diverged": np.zeros(num_runs, bool),
    }
    for name, values in program.log.infos.items():
        record[name] = np.full((num_runs, num_tasks, values.shape[1]), np.nan, np.float32)
    if program.log.rates is not None:
        summaries = parallel.collect(jax.vmap(metrics.rate_summary)(program.start.lrs), num_runs)
        for name, first in zip(("rate_mean", "rate_share_nonpositive"), summaries, strict=True):
            record[name] = np.full((num_runs, num_tasks + 1, first.shape[1]), np.nan, np.float32)
            record[name][:, 0] = first
    if inside := config.inside_batches(benchmark.setting):
        shape = (num_runs, num_tasks, len(inside), num_tasks)
        record["inside_accuracy"] = np.full(shape, np.nan, np.float32)
    for name in program.probed:
        record[name] = np.full((num_runs, num_tasks), np.nan, np.float32)
    return record


def _note_training(record: Record, log: loop.TaskLog, task: int) -> None:
    log = parallel.collect(log, len(record["seeds"]))
    record["diverged"] |= ~log.finite
    for name, values in log.infos.items():
        record[name][:, task] = values
    if log.rates is not None:
        record["rate_mean"][:, task + 1], record["rate_share_nonpositive"][:, task + 1] = log.rates


def _note_accuracy(record: Record, accuracy: np.ndarray, row: int, first: int, stop: int) -> None:
    """Enter a row of accuracies of tasks from `first` up to `stop`; a seed whose scores are not finite has diverged."""
    record["diverged"] |= np.isnan(accuracy[:, first:stop]).any(axis=1)
    record["accuracy"][:, row] = np.where(record["diverged"][:, None], np.nan, accuracy)


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
