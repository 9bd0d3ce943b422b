"""Choose a learner's settings on validation data, on other seeds than those reported.

    python -m experiments.tune --benchmark=mnist_rotations --learner=la_er --data_dir=DATA --workdir=runs/tune

Every point of the learner's grid (`presets/grids.py`) is run on the preset's stream with a tenth of each task's
training data held out; the retained accuracy there, mean over seeds, chooses. Test data are not touched. A point at
which a seed diverges comes last. Runs resume.
"""

import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/tune.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments.presets.grids import GRIDS
from experiments.process import backend, console
from experiments.runs import runner, workdirs
from experiments.runs.config import Config, make_config
from lamaml_jax import datasets, hyper

_BENCHMARK = flags.DEFINE_string("benchmark", "mnist_rotations", "As for experiments.train")
_LEARNER = flags.DEFINE_list("learner", None, "One or more of " + ", ".join(GRIDS), required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the runs", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for experiments.train", required=True)
_HEADS = flags.DEFINE_enum("heads", None, ["shared", "per_task"], "As for experiments.train")
_PROTOCOL = flags.DEFINE_enum("protocol", "single", ["single", "multi"], "As for experiments.train")
_NUM_TASKS = flags.DEFINE_integer("num_tasks", None, "As for experiments.train")
_SET = flags.DEFINE_multi_string(
    "set", [], "name=value for keywords that the grid leaves alone; repeatable"
)
_NUM_SEEDS = flags.DEFINE_integer("num_seeds", 2, "Runs per point", lower_bound=1)

FIRST_SEED = 100


def script(argv: Sequence[str]) -> None:
    """Set the process up and run the grids."""
    console.prepare()
    with console.plain_errors():
        backend.configure(_BENCHMARK.value, _NUM_SEEDS.value)
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run the grids and print what each point gives, the best first."""
    with console.plain_errors():
        grids = {learner: _configs(learner) for learner in _LEARNER.value}
        name = next(iter(grids.values()))[0].dataset
        dataset = datasets.load(name, console.path("data_dir", _DATA_DIR.value))
        for configs in grids.values():
            configs[0].make_benchmark(dataset)
        runs = [(config, _folder(config)) for configs in grids.values() for config in configs]
        with workdirs.reserve(runs, dataset):
            for configs in grids.values():
                _tune(configs, dataset)


def _configs(learner: str) -> list[Config]:
    if learner not in GRIDS:
        raise ValueError(hyper.unknown("learner with a grid", learner, GRIDS))
    for text in _SET.value:
        if (name := text.partition("=")[0]) in GRIDS[learner][0]:
            raise ValueError(f"set is {text!r}; {name} is what the grid of {learner} chooses.")
    stream = {"num_tasks": _NUM_TASKS.value, "heads": _HEADS.value, "eval_split": "validation"}
    configs = [
        make_config(
            benchmark=_BENCHMARK.value,
            learner=learner,
            protocol=_PROTOCOL.value,  # type: ignore[arg-type]
            assignments=[*_SET.value, *(f"{name}={value}" for name, value in point.items())],
            seeds=tuple(range(FIRST_SEED, FIRST_SEED + _NUM_SEEDS.value)),
            stream=stream,
            network={},
            eval="needed",
        )
        for point in GRIDS[learner]
    ]
    configs[0].require_task_ids()
    return configs


def _folder(config: Config) -> pathlib.Path:
    heads = "per_task" if config.has_own_heads() else "shared"
    stream = f"{config.benchmark}-{config.protocol}-{heads}-{config.stream['num_tasks']}"
    root = console.path("workdir", _WORKDIR.value)
    return root / stream / config.learner / _point(config).replace(" ", ",")


def _point(config: Config) -> str:
    return " ".join(f"{name}={config.keywords[name]}" for name in GRIDS[config.learner][0])


def _tune(configs: list[Config], dataset: datasets.ImageDataset) -> None:
    summaries: dict[str, dict[str, Any]] = {}
    for config in configs:
        summaries[_point(config)] = runner.run(config, dataset, _folder(config))
        runner.draw(config, _folder(config))
    print(f"{configs[0].learner} on {configs[0].benchmark}: validation RA, BTI")
    print(*ranking(summaries), sep="\n")


def ranking(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line per point of a grid, the best first; those with a seed that diverged come last."""

    def order(point: str) -> tuple[bool, float]:
        summary = summaries[point]
        return bool(summary["diverged_seeds"]), -(summary["ra_mean"] or 0)

    return [f"  {_metrics(summaries[point])}  {point}" for point in sorted(summaries, key=order)]


def _metrics(summary: Mapping[str, Any]) -> str:
    if diverged := summary["diverged_seeds"]:
        return f"diverged: seeds {', '.join(map(str, diverged))}"
    values = (
        math.nan if summary[name] is None else summary[name] for name in ("ra_mean", "bti_mean")
    )
    return " ".join(f"{value:6.2f}" for value in values)


if __name__ == "__main__":
    app.run(script)
