"""Measure how far retained accuracy depends on the learning rates (Appendix E, Figures 5 and 6).

    python -m experiments.robustness --benchmark=mnist_rotations --data_dir=DATA --workdir=runs/robustness

Every rate of C-MAML, Sync La-MAML and La-MAML takes the paper's range [0.001, 0.3] on its own, the others at the
preset; of C-MAML and La-MAML also a grid of both. All of a learner's points are one program. Flags, and what is written
into each learner's folder, are those of `experiments.sweep`; validation data are evaluated.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/robustness.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments.analyses import robustness
from experiments.process import console, options
from experiments.reporting import tables
from experiments.reporting.pictures import draw_anew
from experiments.reporting.summary import title_of
from experiments.runs import workdirs
from experiments.runs.config import Config
from experiments.runs.making import make_config
from experiments.sweeps import command
from experiments.sweeps.results import Sweep
from lamaml_jax import hyper

_POINTS = flags.DEFINE_integer("points", 8, "Values of each rate on its own", lower_bound=2)
_GRID_SIZE = flags.DEFINE_integer(
    "grid_size", 6, "Values of each rate in the grids; 0 leaves them out", lower_bound=0
)


def script(argv: Sequence[str]) -> None:
    """Set the process up and run the sweeps."""
    options.set_up()
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run the sweeps, and print what the paper's text claims."""
    with console.plain_errors():
        options.refuse_arguments(argv)
        learners = options.learners(robustness.RATES)
        wanted = [(_preset(learner), _request(learner)) for learner in learners]
        dataset = options.dataset(wanted[0][0].dataset)
        for _, request in wanted:
            command.check_data(request, dataset)
        for preset, request in wanted:
            _show(preset, command.perform(request, dataset), options.workdir())


def _preset(learner: str) -> Config:
    if learner not in robustness.RATES:
        raise ValueError(
            hyper.unknown("learner whose rates the paper varies", learner, robustness.RATES)
        )
    return make_config(
        **options.settings(), learner=learner, assignments=options.SET.value, seeds=(0,)
    )


def _request(learner: str) -> command.Request:
    axes, points = robustness.rates_around(_preset(learner), _POINTS.value, _GRID_SIZE.value)
    return command.request(learner, axes, points, options.workdir() / learner, num_seeds=3)


def _show(preset: Config, sweep: Sweep, root: pathlib.Path) -> None:
    found = robustness.numbers(preset.learner, sweep, _GRID_SIZE.value)
    workdirs.write_json(root / f"{preset.learner}.json", found)
    table = robustness.table(found)
    tables.write(root / f"{preset.learner}.csv", table)
    print(f"{title_of(preset.learner)} on {preset.benchmark}, RA in percent:")
    print(tables.markdown(table))
    if "grid" in found:
        best = found["grid"]
        print(
            f"Of the grid: best RA {best['best_ra']:.2f} at {best['best']}, where both rates are equal "
            f"{best['best_ra_where_both_are_equal']:.2f}; {best['diverged']} points diverged."
        )
    for name, plot in robustness.figures(preset, sweep, _GRID_SIZE.value).items():
        print(*draw_anew(root / name, plot))


if __name__ == "__main__":
    app.run(script)
