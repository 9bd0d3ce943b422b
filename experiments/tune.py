"""Choose a learner's settings on validation data, on other seeds than those reported.

    python -m experiments.tune --benchmark=mnist_rotations --learner=la_er --data_dir=DATA --workdir=runs/tune

Every point of the learner's grid (`experiments.grids`) is run on the preset's stream with a tenth of each task's
training data held out; the retained accuracy there, mean over seeds, chooses. Test data are not touched. Runs resume.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from experiments import backend, runner
from experiments.config import Config, make_config
from experiments.grids import GRIDS
from lamaml_jax import datasets, hyper

_BENCHMARK = flags.DEFINE_string("benchmark", "mnist_rotations", "As for experiments.train")
_LEARNER = flags.DEFINE_list("learner", list(GRIDS), "One or more of " + ", ".join(GRIDS))
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the runs", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for experiments.train", required=True)
_HEADS = flags.DEFINE_enum("heads", None, ["shared", "per_task"], "As for experiments.train")
_PROTOCOL = flags.DEFINE_enum("protocol", "single", ["single", "multi"], "As for experiments.train")
_NUM_TASKS = flags.DEFINE_integer("num_tasks", None, "As for experiments.train")
_NUM_SEEDS = flags.DEFINE_integer("num_seeds", 2, "Runs per point", lower_bound=1)

FIRST_SEED = 100


def main(argv: Sequence[str]) -> None:
    """Run the grids and print what each point gives, the best first."""
    logging.set_verbosity(logging.WARNING)
    try:
        for learner in _LEARNER.value:
            if learner not in GRIDS:
                raise ValueError(hyper.unknown("learner with a grid", learner, GRIDS))
        runs = {learner: _configs(learner) for learner in _LEARNER.value}
        dataset = datasets.load(next(iter(runs.values()))[0].dataset, _DATA_DIR.value)
        for learner, configs in runs.items():
            _tune(learner, configs, dataset)
    except (ValueError, datasets.DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _configs(learner: str) -> list[Config]:
    stream = {"num_tasks": _NUM_TASKS.value, "heads": _HEADS.value, "eval_split": "validation"}
    return [
        make_config(
            benchmark=_BENCHMARK.value,
            learner=learner,
            protocol=_PROTOCOL.value,  # type: ignore[arg-type]
            assignments=[f"{name}={value}" for name, value in point.items()],
            seeds=tuple(range(FIRST_SEED, FIRST_SEED + _NUM_SEEDS.value)),
            stream=stream,
            network={},
            eval="needed",
        )
        for point in GRIDS[learner]
    ]


def _tune(learner: str, configs: list[Config], dataset: datasets.ImageDataset) -> None:
    results = []
    for config, point in zip(configs, GRIDS[learner], strict=True):
        text = ",".join(f"{name}={value}" for name, value in point.items())
        folder = pathlib.Path(_WORKDIR.value) / _BENCHMARK.value / learner / text
        summary = runner.run(config, dataset, folder)
        results.append((summary["ra_mean"], summary["bti_mean"], text))
    print(f"{learner} on {_BENCHMARK.value}: validation RA, BTI")
    for ra, bti, text in sorted(results, key=lambda result: -(result[0] or 0)):
        print(f"  {ra or float('nan'):6.2f} {bti or float('nan'):6.2f}  {text}")


if __name__ == "__main__":
    backend.configure()
    app.run(main)
