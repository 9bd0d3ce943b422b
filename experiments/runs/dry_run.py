"""What a command would run, and what that would take, without running it: see --dry_run.

Time is measured on this machine by a probe of ten seconds in all: the programs that would run are compiled, which the
real run then finds in its cache, and train on a little of every task. Nothing is written into a work directory.
"""

import functools
import itertools
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.reporting.tables import markdown
from experiments.runs import catalogue, workdirs
from experiments.runs.config import Config
from lamaml_jax import checkpoint, training
from lamaml_jax.analysis import paired_test
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.loop import make_run
from lamaml_jax.training.planning import Plan
from lamaml_jax.training.program import Program, compile_runs
from lamaml_jax.types import State

PROBE_SECONDS = 10.0
"""Of training, in all; compiling takes its own time."""

PROGRAM_BYTES = 3 * 2**29
"""What Python, JAX and a program take, with what it keeps while it runs: 0.8 to 1.4 GiB were measured on CPU."""

_STATES = 3  # on disk: two, and one while it is written


class Size(NamedTuple):
    """Bytes that runs of a configuration take.

    Attributes:
        fixed: Memory for images and program.
        per_run: Memory for each run.
        kept: Disk for each run's states.
    """

    fixed: int
    per_run: int
    kept: int


class Pace(NamedTuple):
    """Seconds that were measured.

    Attributes:
        compile: For all programs.
        update: For an update of one run's weights, all runs side by side.
        task: To evaluate all runs on a task.
    """

    compile: float
    update: float
    task: float


class Work(NamedTuple):
    """What is left to do of a run.

    Attributes:
        plan: Of the whole run.
        place: How far it is.
        updates: Of the weights of all runs, that are ahead.
    """

    plan: Plan
    place: checkpoint.Place
    updates: int


def size(config: Config, dataset: ImageDataset | None) -> Size:
    """Return how much memory and disk runs take.

    A run holds its stream, its state before and after a task, and copies of both where they are made and saved;
    programs and images take what they take once. What vmap holds of a run on an accelerator is not counted.
    """
    benchmark = config.make_benchmark(dataset)
    functions = config.make_run(benchmark)
    one = jax.tree.map(lambda a: a[0], config.runs().stacked())
    stream = jax.eval_shape(functions.draw_stream, one)
    state = jax.eval_shape(functions.init, one, stream, benchmark.images)
    # Measured on MNIST Rotations with La-MAML: 8.5 MiB per run, where this makes 9.5.
    per_run = 2 * _num_bytes(stream) + 5 * _num_bytes(state)
    return Size(PROGRAM_BYTES + _num_bytes(benchmark.images), per_run, _STATES * _num_bytes(state))


def show(
    runs: Sequence[tuple[Config, pathlib.Path]],
    dataset: ImageDataset | None,
    *,
    overwrite: bool = False,
) -> None:
    """Print what runs would take, each with its work directory.

    Args:
        runs: Of one stream of tasks; of several with the same learner the first is probed.
        dataset: The images of all.
        overwrite: Whether what earlier runs have left would be removed, so that nothing is done yet.

    Raises:
        ValueError: A folder holds something else than its run.
    """
    ahead = list(runs)
    if not overwrite:
        for config, folder in runs:
            workdirs.check(folder, config, dataset)
        ahead = [(config, folder) for config, folder in runs if not workdirs.read_summary(folder)]
    learners = list(dict.fromkeys(config.learner for config, _ in ahead))
    paces: dict[str, Pace] = {}
    rows = [["learner", "runs", "tasks to learn", "updates", "minutes", "memory", "disk"]]
    minutes, kept, most = 0.0, 0.0, 0.0
    for config, folder in ahead:
        work = left(config, dataset, checkpoint.Place(0) if overwrite else workdirs.place(folder))
        if config.learner not in paces:
            paces[config.learner] = probe(config, work.plan, PROBE_SECONDS / len(learners))
        bytes_of, num_runs = size(config, dataset), len(config.runs().each())
        takes = seconds(config, work, paces[config.learner]) / 60
        memory = (bytes_of.fixed + num_runs * bytes_of.per_run) / 2**30
        disk = num_runs * bytes_of.kept / 2**20
        minutes, kept, most = minutes + takes, kept + disk, max(most, memory)
        tasks = f"{len(work.plan.rows) - work.place.stage} of {len(work.plan.rows)}"
        numbers = (f"{work.updates:,}", f"{takes:.1f}", f"{memory:.1f} GiB", f"{disk:.0f} MiB")
        rows.append([catalogue.short(config.learner), str(num_runs), tasks, *numbers])
    if finished := len(runs) - len(ahead):
        print(f"Finished already, and only shown: {finished}.")
    if ahead:
        print(markdown(rows))
        print(
            f"In all about {minutes:.1f} minutes on {jax.device_count()} x {jax.devices()[0].device_kind}, "
            f"{most:.1f} GiB of memory and {kept:.0f} MiB of disk."
        )
    print(_of_pairs(len(runs[0][0].seeds)))
    print("Nothing was run.")


def left(config: Config, dataset: ImageDataset | None, since: checkpoint.Place) -> Work:
    """Return what there is to do of a run from a place on."""
    benchmark = config.make_benchmark(dataset)
    plan = training.plan(**config.training(benchmark), settings=config.keywords)
    batches = sum(map(plan.num_batches, range(since.stage, len(plan.rows)))) - since.batches
    updates = batches * config.updates_per_batch() * len(config.runs().each())
    return Work(plan, since, updates)


def seconds(config: Config, work: Work, pace: Pace) -> float:
    """Return how long what is left of a run takes at a pace, programs compiled anew."""
    since, num_tasks = work.place.stage, work.plan.stream.setting.num_tasks
    stages = range(since, len(work.plan.rows))
    evaluated: Mapping[str, Callable[[int], int]] = {
        "all": lambda stage: num_tasks,
        "seen": lambda stage: min(num_tasks, stage + 2),
        "needed": lambda stage: num_tasks if stage == stages[-1] else 2,
    }
    tasks = sum(map(evaluated[config.eval], stages)) + (0 if since else num_tasks)
    tasks += sum(stage + 1 for stage in stages) * len(work.plan.inside)
    return pace.compile + work.updates * pace.update + tasks * pace.task


def probe(config: Config, plan: Plan, seconds: float) -> Pace:
    """Compile what would run, and measure how fast it trains and evaluates.

    Args:
        config: What would run.
        plan: Of it.
        seconds: How long to train.
    """
    clock = training.Clock(time.perf_counter)
    functions = make_run(plan.stream, plan.build, eval_batch=config.eval_batch())
    program = compile_runs(functions, plan, clock, in_parts=True)
    for _ in range(2):  # The first call of a program is slower.
        evaluating = time.perf_counter()
        program.evaluate(program.start, 0, 1)
        evaluating = time.perf_counter() - evaluating
    updates_per_batch = len(config.runs().each()) * config.updates_per_batch()
    return Pace(clock["compile"], _train(program, plan, seconds) / updates_per_batch, evaluating)


def _train(program: Program, plan: Plan, seconds: float) -> float:
    """Train for about so long; return the seconds of a batch on average over all tasks, what their ends take included.

    Later tasks can take longer than the first, as where old ones are held against a gradient. So the last batches of
    every task are timed, as many as there is time for.
    """
    state, pace = _begin(program, seconds / 2)
    spent = whole = 0.0
    stages = range(len(plan.rows))
    for stage in stages:
        batches = plan.num_batches(stage)
        share = (seconds / 2 - spent) / (len(stages) - stage)
        few = max(1, min(int(share / pace), batches - 1))
        then = time.perf_counter()
        sizes = functools.partial(next, itertools.repeat(few))
        for part in program.train(state, stage, max(0, batches - 1 - few), sizes):
            state, now = jax.block_until_ready(part.state), time.perf_counter()
            taken, then = now - then, now
            spent += taken
            if part.stop < batches:
                pace = taken / (part.stop - part.first)
            else:
                whole += part.first * pace + taken
    return whole / sum(map(plan.num_batches, stages))


def _begin(program: Program, seconds: float) -> tuple[State, float]:
    """Train on the first task for about so long; return the state and a batch's seconds.

    The first call, which is slower, is not counted.
    """
    state, sizes = program.start, (2**n for n in itertools.count())
    taken: list[float] = []
    batches: list[int] = []
    then = time.perf_counter()
    for part in program.train(state, 0, 0, functools.partial(next, sizes)):
        state, now = jax.block_until_ready(part.state), time.perf_counter()
        taken.append(now - then)
        batches.append(part.stop - part.first)
        then = now
        # The next call, of twice as many batches, takes as long as all before it.
        if sum(taken) > seconds / 2 and len(taken) > 1:
            break
    return state, sum(taken[1:] or taken) / sum(batches[1:] or batches)


def _of_pairs(num_seeds: int) -> str:
    smallest = paired_test(np.ones(num_seeds), np.zeros(num_seeds)).smallest_p
    enough = math.ceil(1 - math.log2(0.05))
    on = "one seed" if num_seeds == 1 else f"these {num_seeds} seeds"
    best = f"Two learners on {on} can differ with p = {smallest:.3g} at best (paired test)"
    return f"{best}." if smallest <= 0.05 else f"{best}; p < 0.05 takes {enough} seeds."


def _num_bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
