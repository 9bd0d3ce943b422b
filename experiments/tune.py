"""Choose learners' settings on validation data, on other seeds than those reported: sweeps over the committed grids.

    python -m experiments.tune --benchmark=mnist_rotations --learner=la_er,agem --data_dir=DATA --workdir=runs/tune

The grids are in `presets/grids.py`; see `experiments.sweep`, which sweeps over any other. Test data are not
touched unless --eval_split=test says so.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/tune.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app

from experiments.cluster import options as cluster_options
from experiments.presets.grids import GRIDS
from experiments.process import console, options
from experiments.runs import catalogue
from experiments.sweeps import command, grid, request
from lamaml_jax import hyper


def script(argv: Sequence[str]) -> None:
    """Set the process up and run the grids."""
    cluster_options.set_up()
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run the grids and print what each point gives, the best first."""
    with console.plain_errors():
        options.refuse_arguments(argv, dry_run=True)
        learners = options.learners([])
        wanted = [_request(learner, learners) for learner in learners]
        dataset = options.dataset(wanted[0].configs[0])
        if options.DRY_RUN.value:
            command.show_dry(wanted, dataset)
            return
        for one, sweep in zip(wanted, command.perform(wanted, dataset), strict=True):
            command.show(one, sweep)


def _request(learner: str, learners: Sequence[str]) -> request.Request:
    if learner not in GRIDS:
        raise ValueError(hyper.unknown("learner with a grid", learner, GRIDS))
    points = [tuple(str(value) for value in point.values()) for point in GRIDS[learner]]
    axes = [
        grid.listed(name, list(dict.fromkeys(point[i] for point in points)))
        for i, name in enumerate(GRIDS[learner][0])
    ]
    workdir = options.workdir() / catalogue.short(learner)
    return request.make(learner, axes, points, workdir, num_seeds=2, learners=learners)


if __name__ == "__main__":
    app.run(script)
