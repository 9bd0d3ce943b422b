"""Train learners on a benchmark, many seeds at once, and print the results beside the paper's.

    python -m experiments.train --benchmark=mnist_rotations --learner=la_maml --data_dir=DATA --workdir=DIR

The same command on the same work directory goes on where it was interrupted. --learner takes one method, several with
commas between, or all, which may stand beside others. The defaults are the published settings,
which `python -m experiments.presets` lists; where they do not give the paper's numbers stands in docs/results.md.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/train.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments import presets
from experiments.cluster import driver
from experiments.cluster import options as cluster_options
from experiments.presets.preset import Protocol
from experiments.process import console, options
from experiments.reporting.summary import comparison_table, inside_table
from experiments.runs import catalogue, dry_run, events, runner, workdirs
from experiments.runs.config import Config, stream_defaults
from experiments.runs.making import assignments_for, make_config
from lamaml_jax import checks, hyper, training
from lamaml_jax.learners import LEARNERS

_ORDER = flags.DEFINE_enum(
    "order", None, ["first", "second"], "Of the meta-gradients; the preset's by default"
)
_EVAL = flags.DEFINE_enum(
    "eval",
    "all",
    ["all", "seen", "needed"],
    "After every task, evaluate all tasks, those seen so far and the next, or only those that the metrics need",
)
_EVAL_EVERY = flags.DEFINE_integer(
    "eval_every",
    None,
    "Also evaluate the tasks seen inside each task, after every so many incoming batches: for min-ACC, WC-ACC and the "
    "stability gap. Each such evaluation costs what one after a task with --eval=seen does; nothing else changes",
)
_SMOKE = flags.DEFINE_bool(
    "smoke",
    False,
    "A run of seconds: 2 seeds, 3 tasks of 100 images, one glance (MER: batch) each, unless set otherwise",
)
_DIAGNOSTICS = flags.DEFINE_bool(
    "diagnostics",
    False,
    "Keep all learnt rates of the first seed after every task, in rates.npz, and measure as each task arrives how all "
    "seeds learn it, in dynamics.npz; experiments.report pictures both",
)
_TENSORBOARD = flags.DEFINE_bool(
    "tensorboard",
    False,
    "Write event files for TensorBoard as well, a folder per seed in tensorboard/; needs tensorboardX",
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Remove what an earlier run has left in the work directory"
)


def script(argv: Sequence[str]) -> None:
    """Set the process up and run what the flags say."""
    cluster_options.set_up(_num_seeds)
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run what the flags say."""
    with console.plain_errors():
        options.refuse_arguments(argv, dry_run=True)
        _run()


def _run() -> None:
    if _TENSORBOARD.value:
        events.require()
    if cluster_options.CLUSTER.value and (_DIAGNOSTICS.value or _TENSORBOARD.value):
        name = "diagnostics" if _DIAGNOSTICS.value else "tensorboard"
        raise ValueError(
            f"{name} and cluster are both given; only runs on one machine are looked into."
        )
    configs, left_out = _configs()
    root = options.workdir()
    dataset = options.dataset(configs[0])
    for config in configs:
        # Refuse what does not fit these data before anything runs.
        training.plan(**config.training(config.make_benchmark(dataset)), settings=config.keywords)
    folders = [
        root / catalogue.short(config.learner) if len(configs) > 1 else root for config in configs
    ]
    runs = list(zip(configs, folders, strict=True))
    if options.DRY_RUN.value:
        dry_run.show(runs, dataset, overwrite=_OVERWRITE.value)
        print(*left_out, sep="\n", end="\n" if left_out else "")
        return
    summaries: list[dict[str, Any]] = []
    pictures: list[pathlib.Path] = []
    done: list[pathlib.Path] = []
    failed: list[ValueError] = []
    with workdirs.reserve(runs, dataset, overwrite=_OVERWRITE.value):
        driver.compute(runs, dataset, overwrite=_OVERWRITE.value)
        for config, folder in runs:
            try:
                summary = runner.run(
                    config,
                    dataset,
                    folder,
                    checkpoint_minutes=options.CHECKPOINT_MINUTES.value,
                    diagnose=_DIAGNOSTICS.value,
                    tensorboard=_TENSORBOARD.value,
                )
            except ValueError as error:  # the next may run
                failed.append(error)
                continue
            summaries.append(summary)
            done.append(folder)
            pictures += runner.draw(config, folder)
    if summaries:
        print(comparison_table(summaries))
    if summaries and _EVAL_EVERY.value is not None:
        print(f"\n{inside_table(summaries)}")
    print(*left_out, sep="\n", end="\n" if left_out else "")
    if len(done) > 1:
        pictures += _compare(root, done, summaries, configs[0].eval_split())
    if pictures:
        print("Pictures:", *pictures, sep="\n  ")
    if failed:
        raise failed[0]


def _compare(
    root: pathlib.Path, folders: list[pathlib.Path], summaries: list[dict[str, Any]], split: str
) -> list[pathlib.Path]:
    drawn: list[pathlib.Path] = []
    with console.only_warned(f"{root} lacks a comparison"):
        # An import that can fail in a user's surroundings.
        from experiments.reporting import pictures

        drawn = pictures.draw_comparison(root, folders, summaries, split=split)
    return drawn


def _configs() -> tuple[list[Config], list[str]]:
    """Return the runs, and what is to be said of the learners of `all` that are left out."""
    settings = _settings()
    benchmark, protocol = settings["benchmark"], settings["protocol"]
    named = options.learners(["la_maml"])
    learners = options.learners(["la_maml"], every=_every(benchmark, protocol))
    for learner in learners:
        catalogue.learner(learner)
        if not (catalogue.is_own(benchmark) or catalogue.is_own(learner)):
            presets.require(benchmark, learner, protocol)
    if _ORDER.value and any(text.startswith("order=") for text in options.SET.value):
        raise ValueError("order is given by --order and by --set; it must be given once.")
    overrides = [*options.SET.value, *([f"order={_ORDER.value}"] if _ORDER.value else [])]
    seeds = options.seeds(_num_seeds(), first=0)
    configs: list[Config] = []
    unfit: list[str] = []
    untold: list[str] = []
    for learner in learners:
        try:
            config = make_config(
                **settings,
                learner=learner,
                assignments=[*_shortened(learner), *assignments_for(learner, learners, overrides)],
                seeds=seeds,
                eval=_EVAL.value,  # type: ignore[arg-type]
                eval_every=_EVAL_EVERY.value,
            )
        except checks.UnfitModel as error:
            if learner in named:
                raise
            unfit.append(f"Left out, since it cannot learn this network: {learner}, as {error}")
            continue
        if learner in named:
            config.require_task_ids()
        if config.lacks_task_ids():
            untold.append(learner)
        else:
            configs.append(config)
    rest = [name for name in LEARNERS if name not in learners] if "all" in named else []
    reasons = {
        "they need to know the task at test (--heads=per_task)": untold,
        "they have no preset here": rest,
    }
    left_out = [f"Left out, since {why}: {', '.join(of)}" for why, of in reasons.items() if of]
    if not configs:
        raise ValueError(
            f"learner is 'all', of which none can run here. {'; '.join(unfit + left_out)}"
        )
    return configs, unfit + left_out


def _settings() -> dict[str, Any]:
    """Return what the flags say of the stream and all else but the learner, in small for a smoke run."""
    settings = options.settings()
    small = {"num_tasks": 3, "samples_per_task": 100} if _SMOKE.value else {}
    for name, value in small.items():
        if settings["stream"][name] is None and name in stream_defaults(settings["benchmark"]):
            settings["stream"][name] = value
    return settings


def _every(benchmark: str, protocol: Protocol) -> list[str]:
    """Return what `all` stands for."""
    return list(LEARNERS) if catalogue.is_own(benchmark) else presets.names(benchmark, protocol)


def _shortened(learner: str) -> list[str]:
    """Return what a smoke run sets of a learner's keywords."""
    if not _SMOKE.value:
        return []
    shortened = {"glances", "batches_per_example"} & hyper.names(catalogue.learner(learner))
    return [f"{name}=1" for name in shortened]


def _num_seeds() -> int:
    return options.num_seeds(2 if _SMOKE.value else 5)


if __name__ == "__main__":
    app.run(script)
