"""Measure how far retained accuracy depends on the learning rates (Appendix E, Figures 5 and 6).

    python -m experiments.robustness --benchmark=mnist_rotations --data_dir=DATA --workdir=runs/robustness

Every rate of C-MAML, Sync La-MAML and La-MAML takes the paper's range [0.001, 0.3] on its own, the others at the
preset; of C-MAML and La-MAML also a grid of both. All of a learner's points are one program. Flags, and what is written
into each learner's folder, are those of `experiments.sweep`; robustness.csv has what is printed of the rates of all.
Validation data are evaluated unless --eval_split=test is given.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/robustness.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments.analyses import folder, robustness
from experiments.cluster import options as cluster_options
from experiments.process import console, options
from experiments.reporting import tables
from experiments.runs import catalogue, workdirs
from experiments.runs.config import Config
from experiments.runs.making import assignments_for, make_config
from experiments.sweeps import command, request
from lamaml_jax import hyper

_POINTS = flags.DEFINE_integer(
    "points", 8, "Values of each rate on its own", lower_bound=2, upper_bound=1_000
)
_GRID_SIZE = flags.DEFINE_integer(
    "grid_size",
    6,
    "Values of each rate in the grids; 0 leaves them out",
    lower_bound=0,
    upper_bound=80,
)


def script(argv: Sequence[str]) -> None:
    """Set the process up and run the sweeps."""
    cluster_options.set_up()
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run the sweeps, and print what the paper's text claims."""
    with console.plain_errors():
        options.refuse_arguments(argv)
        learners = options.learners(robustness.RATES)
        presets = [_preset(learner, learners) for learner in learners]
        wanted = {preset.learner: _request(preset, learners) for preset in presets}
        root, dataset = options.workdir(), options.dataset(presets[0])
        configs = [one.configs[0] for one in wanted.values()]
        settings = folder.settings_of(configs, dataset, points=_POINTS.value)
        about = folder.About(
            analysis="robustness",
            benchmark=configs[0].benchmark,
            learners=learners,
            seeds=list(configs[0].seeds),
            folders=[catalogue.short(name) for name in learners],
            options={"grid_size": _GRID_SIZE.value},
            settings=settings,
        )
        folder.check(root, about)
        for one in wanted.values():
            command.check(one, dataset)
        folder.begin(root, about)
        measured = []
        sweeps = command.perform(list(wanted.values()), dataset)
        for learner, sweep in zip(wanted, sweeps, strict=True):
            found = robustness.numbers(learner, sweep, _GRID_SIZE.value)
            measured.append(found)
            workdirs.write_json(root / f"{learner}.json", found)
            folder.show(root, about, robustness.parts(found, sweep, _GRID_SIZE.value))
        tables.write(root / "robustness.csv", robustness.joined(measured))
        folder.finish(root, about)


def _preset(learner: str, learners: Sequence[str]) -> Config:
    if learner not in robustness.RATES:
        raise ValueError(
            hyper.unknown("learner whose rates the paper varies", learner, robustness.RATES)
        )
    own = assignments_for(learner, learners, options.SET.value)
    return make_config(**options.settings(), learner=learner, assignments=own, seeds=(0,))


def _request(preset: Config, learners: Sequence[str]) -> request.Request:
    axes, points = robustness.rates_around(preset, _POINTS.value, _GRID_SIZE.value)
    workdir = options.workdir() / preset.learner
    return request.make(preset.learner, axes, points, workdir, num_seeds=3, learners=learners)


if __name__ == "__main__":
    app.run(script)
