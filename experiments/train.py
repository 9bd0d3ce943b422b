"""Train learners on a benchmark, many seeds at once, and print the results beside the paper's.

    python -m experiments.train --benchmark=mnist_rotations --learner=la_maml --data_dir=DATA --workdir=DIR

The same command on the same work directory goes on where it was interrupted. The defaults are the published settings,
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
from experiments.process import backend, console
from experiments.reporting.summary import comparison_table
from experiments.runs import runner, workdirs
from experiments.runs.config import Config, make_config
from lamaml_jax import datasets, hyper
from lamaml_jax.learners import LEARNERS

_BENCHMARK = flags.DEFINE_string(
    "benchmark", "mnist_rotations", "Stream of tasks: any of " + ", ".join(presets.PRESETS)
)
_LEARNER = flags.DEFINE_list(
    "learner",
    ["la_maml"],
    "Method, or a comma-separated list, or all: any of " + ", ".join(LEARNERS),
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for the results; several learners get a folder each in it"
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of prepared data, of archives in manual/, or to download into"
)
_PACKAGED = flags.DEFINE_bool(
    "packaged_mnist", False, "Use the packaged subset: 10,000 training, 2,000 test images"
)
_NUM_SEEDS = flags.DEFINE_integer("num_seeds", 5, "Runs, which differ in all that is random")
_SEED = flags.DEFINE_integer("seed", 0, "The first seed; the others count up from it")
_PROTOCOL = flags.DEFINE_enum(
    "protocol", "single", ["single", "multi"], "One pass with glances, or ten epochs over each task"
)
_SEMANTICS = flags.DEFINE_enum(
    "semantics",
    "released",
    ["released", "paper"],
    "Whose reading of the method: the authors' code's, or the text's",
)
_ORDER = flags.DEFINE_enum(
    "order", None, ["first", "second"], "Of the meta-gradients; the preset's by default"
)
_STREAM = {
    "num_tasks": flags.DEFINE_integer(
        "num_tasks", None, "Tasks; the benchmark's own number by default"
    ),
    "samples_per_task": flags.DEFINE_integer(
        "samples_per_task", None, "Training images per task; the benchmark's by default"
    ),
    "heads": flags.DEFINE_enum(
        "heads",
        None,
        ["shared", "per_task"],
        "MNIST: one head for all tasks (the default), or one each and its id known at test",
    ),
    "interpolation": flags.DEFINE_enum(
        "interpolation",
        None,
        ["bilinear", "nearest"],
        "MNIST Rotations: of rotated images; bilinear by default",
    ),
    "classes_per_task": flags.DEFINE_integer(
        "classes_per_task", None, "Split benchmarks: a divisor of the classes; 5 by default"
    ),
    "class_order": flags.DEFINE_enum(
        "class_order",
        None,
        ["random", "superclass"],
        "Split CIFAR-100: random (the default), or one superclass per task",
    ),
    "eval_split": flags.DEFINE_enum(
        "eval_split",
        None,
        ["test", "validation"],
        "Evaluate on test data (the default), or on a tenth held out of each task's training",
    ),
}
_NETWORK = {
    "precision": flags.DEFINE_enum(
        "precision",
        None,
        ["float32", "bfloat16"],
        "Of the network's matrix products; float32 by default",
    ),
    "initializer": flags.DEFINE_enum(
        "initializer",
        None,
        ["kaiming", "xavier", "xavier_uniform"],
        "Of the network's weights; the preset's by default",
    ),
    "convolution": flags.DEFINE_enum(
        "convolution",
        None,
        ["patches", "lax"],
        "Split benchmarks: as patches times a matrix (the default), or by JAX's own function",
    ),
}
_EVAL = flags.DEFINE_enum(
    "eval",
    "all",
    ["all", "seen", "needed"],
    "After every task, evaluate all tasks, those seen so far and the next, or only those that the metrics need",
)
_SET = flags.DEFINE_multi_string(
    "set", [], "name=value for any keyword of the learner's factory; repeatable"
)
_SMOKE = flags.DEFINE_bool(
    "smoke",
    False,
    "A run of seconds: 2 seeds, 3 tasks of 100 images, one glance (MER: batch) each, unless set otherwise",
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Remove what an earlier run has left in the work directory"
)


def script(argv: Sequence[str]) -> None:
    """Set the process up and run what the flags say."""
    console.prepare()
    with console.plain_errors():
        backend.configure(_BENCHMARK.value, _num_seeds())
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run what the flags say."""
    with console.plain_errors():
        if len(argv) > 1:
            raise ValueError(f"{argv[1]!r} is not a flag; flags are of the form --name=value.")
        _run()


def _run() -> None:
    configs, left_out = _with_task_ids(_configs())
    if not _WORKDIR.value:
        raise ValueError("workdir is not given; it must be a folder for the results.")
    root = console.path("workdir", _WORKDIR.value)
    dataset = _dataset(configs[0].dataset)
    for config in configs:
        config.make_benchmark(dataset)  # refuses what does not fit these data before anything runs
    folders = [root / config.learner if len(configs) > 1 else root for config in configs]
    runs = list(zip(configs, folders, strict=True))
    summaries: list[dict[str, Any]] = []
    pictures: list[pathlib.Path] = []
    with workdirs.reserve(runs, dataset, overwrite=_OVERWRITE.value):
        for config, folder in runs:
            summaries.append(runner.run(config, dataset, folder))
            pictures += runner.draw(config, folder)
    print(comparison_table(summaries))
    if left_out:
        print(
            f"Left out, since they need to know the task at test (--heads=per_task): {', '.join(left_out)}"
        )
    if _LEARNER.value == ["all"] and (rest := _without_preset()):
        print(f"Left out, since they have no preset here: {', '.join(rest)}")
    if len(configs) > 1:
        pictures += _compare(root, folders, summaries)
    if pictures:
        print("Pictures:", *pictures, sep="\n  ")


def _compare(
    root: pathlib.Path, folders: list[pathlib.Path], summaries: list[dict[str, Any]]
) -> list[pathlib.Path]:
    drawn: list[pathlib.Path] = []
    with console.only_warned(f"{root} lacks a comparison"):
        # An import that can fail in a user's surroundings.
        from experiments.reporting import pictures

        drawn = pictures.draw_comparison(root, folders, summaries)
    return drawn


def _configs() -> list[Config]:
    if _BENCHMARK.value not in presets.PRESETS:
        raise ValueError(hyper.unknown("benchmark", _BENCHMARK.value, presets.PRESETS))
    learners = _LEARNER.value
    if learners == ["all"]:
        learners = presets.names(_BENCHMARK.value, _PROTOCOL.value)  # type: ignore[arg-type]
    if not learners or len(set(learners)) < len(learners):
        raise ValueError(
            f"learner is {','.join(learners)!r}; it must name one or more different learners."
        )
    num_seeds = _num_seeds()
    stream = {name: flag.value for name, flag in _STREAM.items()}
    if _SMOKE.value:
        for name, value in {"num_tasks": 3, "samples_per_task": 100}.items():
            stream[name] = value if stream[name] is None else stream[name]
    if num_seeds < 1:
        raise ValueError(f"num_seeds is {num_seeds}; it must be at least 1.")
    for learner in learners:
        if learner in LEARNERS:
            presets.require(_BENCHMARK.value, learner, _PROTOCOL.value)  # type: ignore[arg-type]
    overrides = [*_SET.value, *([f"order={_ORDER.value}"] if _ORDER.value else [])]
    if not 0 <= _SEED.value <= 2**32 - num_seeds:
        raise ValueError(f"seed is {_SEED.value}; it must be in [0, 2**32 - num_seeds].")
    return [
        make_config(
            benchmark=_BENCHMARK.value,
            learner=learner,
            protocol=_PROTOCOL.value,  # type: ignore[arg-type]
            semantics=_SEMANTICS.value,  # type: ignore[arg-type]
            assignments=[*_shortened(learner), *_for_learner(learner, learners, overrides)],
            seeds=tuple(range(_SEED.value, _SEED.value + num_seeds)),
            stream=stream,
            network={name: flag.value for name, flag in _NETWORK.items()},
            eval=_EVAL.value,  # type: ignore[arg-type]
        )
        for learner in learners
    ]


def _shortened(learner: str) -> list[str]:
    """Return what a smoke run sets of a learner's keywords."""
    if not _SMOKE.value or learner not in LEARNERS:
        return []
    shortened = {"glances", "batches_per_example"} & hyper.names(LEARNERS[learner])
    return [f"{name}=1" for name in shortened]


def _num_seeds() -> int:
    return 2 if _SMOKE.value and not _NUM_SEEDS.present else _NUM_SEEDS.value


def _with_task_ids(configs: list[Config]) -> tuple[list[Config], list[str]]:
    """Return the runs that know the tasks they need to know, and the learners of `all` that are left out."""
    if _LEARNER.value != ["all"]:
        for config in configs:
            config.require_task_ids()
        return configs, []
    lacking = [config.learner for config in configs if config.lacks_task_ids()]
    return [config for config in configs if config.learner not in lacking], lacking


def _without_preset() -> list[str]:
    known = presets.names(_BENCHMARK.value, _PROTOCOL.value)  # type: ignore[arg-type]
    return [learner for learner in LEARNERS if learner not in known]


def _for_learner(learner: str, learners: Sequence[str], overrides: list[str]) -> list[str]:
    """Return the overrides for one of several learners, leaving out those that only others have."""
    names = {name: hyper.names(LEARNERS[name]) for name in learners if name in LEARNERS}
    others = set().union(*names.values()) - names.get(learner, set())
    return [text for text in overrides if text.partition("=")[0] not in others]


def _dataset(name: str) -> datasets.ImageDataset:
    if _PACKAGED.value and _DATA_DIR.value is not None:
        raise ValueError("packaged_mnist and data_dir are both given; it must be one of them.")
    if _PACKAGED.value and name != "mnist":
        raise ValueError(f"packaged_mnist is given; {_BENCHMARK.value} needs {name} in a data_dir.")
    if _PACKAGED.value:
        return datasets.load_packaged_mnist()
    if _DATA_DIR.value is None:
        or_packaged = ", or pass --packaged_mnist" if name == "mnist" else ""
        raise ValueError(f"data_dir is not given; it must be a folder for {name}{or_packaged}.")
    return datasets.load(name, console.path("data_dir", _DATA_DIR.value))


if __name__ == "__main__":
    app.run(script)
