"""Run one configuration: train task by task, show progress, save after every task, write the results.

Dimensions: S runs (seeds, of a sweep point by point), T tasks, L layers.
"""

import contextlib
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments.process import console
from experiments.reporting.summary import summarise, title
from experiments.runs import diagnostics, workdirs
from experiments.runs.config import Config
from experiments.runs.probes import PROBES
from lamaml_jax import checkpoint, loop, metrics, parallel
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams import Benchmark
from lamaml_jax.types import State

Record = dict[str, np.ndarray]
"""What a run has measured so far: arrays that start with the axis of runs, NaN where nothing was measured yet."""


class Program(NamedTuple):
    """All runs, compiled and on their devices.

    Attributes:
        start: The state before training.
        train: `train(state, task) -> (state, log)`.
        evaluate: `evaluate(state, first, stop) -> accuracy [S, T]`, on the host.
        probe: `probe(state, task) -> values [S]` by name, on the host.
        save: `save(state)` on the host.
        load: `load(saved)` back on the devices.
        infos: The names of what the learner reports.
    """

    start: State
    train: Callable[[State, int], tuple[State, loop.TaskLog]]
    evaluate: Callable[[State, int, int], np.ndarray]
    probe: Callable[[State, int], dict[str, np.ndarray]]
    save: Callable[[State], Any]
    load: Callable[[Any], State]
    infos: list[str]


class Clock(dict[str, float]):
    """Seconds spent by name."""

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to `name`."""
        start = time.perf_counter()
        yield
        self[name] += time.perf_counter() - start


def run(
    config: Config, dataset: ImageDataset, workdir: pathlib.Path, *, diagnose: bool = False
) -> dict[str, Any]:
    """Train and evaluate all runs of a configuration, or go on where an earlier call was interrupted.

    Args:
        config: What to run.
        dataset: The images.
        workdir: Receives config.json, metrics.jsonl, results.npz, summary.json and the state after the last task (see
            `workdirs`).
        diagnose: Keep all learnt rates as well (see `diagnostics`); the compiled programs are the same.

    Returns:
        The summary, as in summary.json.

    Raises:
        ValueError: `workdir` holds another run, or a damaged file.
    """
    workdirs.claim(workdir, config, dataset)
    summary = workdirs.read_summary(workdir)
    if summary is None:
        summary = _train(config, dataset, workdir, diagnose)
    elif diagnose:
        print(f"note: {workdir} is finished; diagnostics are kept of runs only.", file=sys.stderr)
    return summary


def draw(config: Config, workdir: pathlib.Path) -> list[pathlib.Path]:
    """Draw the pictures of a finished run that are not there, and return the paths of all; failures are warnings."""
    drawn: list[pathlib.Path] = []
    with console.only_warned(f"{workdir} lacks pictures"):
        # An import that can fail in a user's surroundings.
        from experiments.reporting import pictures

        drawn = pictures.draw_run(workdir, workdirs.read_results(workdir), title(config))
    return drawn


def _train(
    config: Config, dataset: ImageDataset, workdir: pathlib.Path, diagnose: bool
) -> dict[str, Any]:
    benchmark = config.make_benchmark(dataset)
    num_tasks = benchmark.setting.num_tasks
    # Of a mixed stream there is only a before and an after.
    num_stages = 1 if "mixed_stream" in config.needs() else num_tasks
    rows = [*range(1, num_stages), num_tasks]  # of the accuracy matrix, after each stage
    clock = Clock(compile=0.0, train=0.0, eval=0.0)
    with tqdm(
        total=num_stages, desc=config.learner, unit="task", dynamic_ncols=True, file=sys.stderr
    ) as bar:
        bar.set_postfix_str("compiling")
        program, record = _prepare(config, benchmark, clock)
        state, done = program.start, 0

        def snapshot() -> dict[str, Any]:
            return {"state": program.save(state), "record": record, "clock": dict(clock)}

        if saved := checkpoint.restore(workdir / "state", snapshot()):
            done, tree = saved
            state, record, clock = program.load(tree["state"]), tree["record"], Clock(tree["clock"])
        else:
            with clock.on("eval"):
                _note_accuracy(record, program.evaluate(state, 0, num_tasks), 0, 0, num_tasks)
        workdirs.write_metrics(workdir, record, done, rows, program.infos)
        rates = diagnostics.begin(workdir, state, num_tasks) if diagnose else {}
        diagnostics.keep(workdir, rates, state, done)
        bar.initial = bar.n = done
        for task in range(done, num_stages):
            if record["diverged"].all():
                break
            row = rows[task]
            for name, values in program.probe(state, task).items():
                record[name][:, task] = values
            with clock.on("train"):
                state, log = jax.block_until_ready(program.train(state, task))
            _note_training(record, log, task)
            # LA takes the task just learnt, FWT the next one, the picture of all tasks' accuracies those seen so far.
            tasks = {"all": (0, num_tasks), "seen": (0, task + 2), "needed": (task, task + 2)}
            first, stop = (0, num_tasks) if row == num_tasks else tasks[config.eval]
            with clock.on("eval"):
                accuracy = program.evaluate(state, first, stop)
            _note_accuracy(record, accuracy, row, first, stop)
            workdirs.write_metrics(workdir, record, task + 1, rows, program.infos)
            diagnostics.keep(workdir, rates, state, row)
            checkpoint.save(workdir / "state", task + 1, snapshot())
            bar.set_postfix_str(_progress(record, row))
            bar.update()
            done += 1
    if "rate_mean" in record:
        record["layer_names"] = np.array(metrics.layer_names(state.lrs))
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


def _prepare(config: Config, benchmark: Benchmark, clock: Clock) -> tuple[Program, Record]:
    """Compile the run's functions, draw and initialise every seed, and make room for what will be measured."""
    num_runs = len(config.runs())
    functions = config.make_run(benchmark)
    mesh = parallel.run_mesh()
    seeds = config.place_runs(mesh)
    images = parallel.replicate(benchmark.images, mesh)

    def compiled(function: Callable[..., Any], runs: Any, shared: Any) -> jax.stages.Compiled:
        with clock.on("compile"):
            return parallel.over_runs(function, mesh, num_runs).lower(runs, shared).compile()

    def whole(*numbers: int) -> tuple[Any, ...]:
        return (images, *(np.int32(n) for n in numbers))

    # All learners' streams are drawn by one program, which the cache keeps, as they do not depend on hyper-parameters.
    keys = (seeds._replace(hyper={}),)
    stream = compiled(functions.draw_stream, keys, ())(keys, ())
    start = compiled(functions.init, (seeds, stream), whole())((seeds, stream), whole())
    train = compiled(functions.train_task, (seeds, stream, start), whole(0))
    evaluate = compiled(functions.evaluate, (seeds, stream, start), whole(0, 0))

    def evaluate_on_host(state: State, first: int, stop: int) -> np.ndarray:
        row = evaluate((seeds, stream, state), whole(first, stop))
        return parallel.collect(row, num_runs)

    probed: dict[str, Any] = {}
    if config.probe is not None:
        measure = PROBES[config.probe](config, benchmark)
        probe = compiled(measure, (seeds, stream, start), whole(0))
        probed = probe.out_info

    def probe_on_host(state: State, task: int) -> dict[str, np.ndarray]:
        if not probed:
            return {}
        return parallel.collect(probe((seeds, stream, state), whole(task)), num_runs)

    _, log = train.out_info
    program = Program(
        start,
        train=lambda state, task: train((seeds, stream, state), whole(task)),
        evaluate=evaluate_on_host,
        probe=probe_on_host,
        save=lambda state: parallel.collect(state, num_runs),
        load=lambda saved: parallel.place(saved, mesh),
        infos=sorted(log.infos),
    )
    record = _empty_record(config, benchmark.setting.num_tasks, log, start)
    shape = record["accuracy"][:, 0].shape
    return program, record | {name: np.full(shape, np.nan, np.float32) for name in probed}


def _empty_record(config: Config, num_tasks: int, log: loop.TaskLog, state: State) -> Record:
    seeds = np.array([seed for _, seed in config.runs()])
    num_runs = len(seeds)
    record = {
        "seeds": seeds,
        "accuracy": np.full((num_runs, num_tasks + 1, num_tasks), np.nan, np.float32),
        "diverged": np.zeros(num_runs, bool),
    }
    for name, values in log.infos.items():
        record[name] = np.full((num_runs, num_tasks, values.shape[1]), np.nan, np.float32)
    if log.rates is not None:
        summaries = parallel.collect(jax.vmap(metrics.rate_summary)(state.lrs), num_runs)
        for name, first in zip(("rate_mean", "rate_share_nonpositive"), summaries, strict=True):
            record[name] = np.full((num_runs, num_tasks + 1, first.shape[1]), np.nan, np.float32)
            record[name][:, 0] = first
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
