"""Run many settings of one learner, as few compiled programs as there are structures among them, and rank them.

    python -m experiments.sweep --benchmark=mnist_rotations --learner=la_maml --grid=lr_init=0.001:0.3:log8 \
        --grid=lr_lr=0.003,0.03,0.3 --num_seeds=3 --data_dir=DATA --workdir=DIR

An axis is a list of values, `name=low:high:log8` or `name=low:high:lin5`; --random=64 draws that many points from the
ranges instead of their product. Points that differ in floats alone share one program. Validation data choose; with
--report_best the best point is then run once on test data, with other seeds. The same command goes on where it stopped.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/sweep.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments.cluster import options as cluster_options
from experiments.process import console, options
from experiments.reporting.summary import comparison_table
from experiments.runs.making import integer_names
from experiments.sweeps import command, grid, request

_GRID = flags.DEFINE_multi_string(
    "grid", [], "An axis: name=a,b,c or name=low:high:log8 or name=low:high:lin5; repeatable"
)
_RANDOM = flags.DEFINE_integer(
    "random", None, "Draw this many points of a Sobol sequence from the axes, not their product"
)
_YES = flags.DEFINE_bool("yes", False, f"Sweep over more than {grid.MANY_POINTS:,} points")
_REPORT_BEST = flags.DEFINE_bool(
    "report_best", False, "Run the best point on test data, with seeds 0 to 4 (see --report_seeds)"
)
_REPORT_SEEDS = flags.DEFINE_integer("report_seeds", None, "Seeds of that run, 5 by default", 1)


def script(argv: Sequence[str]) -> None:
    """Set the process up and run the sweep."""
    cluster_options.set_up()
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run the sweep that the flags describe, print its ranking, and report its best point if asked to."""
    with console.plain_errors():
        options.refuse_arguments(argv, dry_run=True)
        learners = options.learners(["la_maml"])
        if len(learners) > 1:
            raise ValueError(f"learner is {','.join(learners)!r}; a sweep is of one learner.")
        wanted = request.make(learners[0], *_points(learners[0]), options.workdir(), num_seeds=3)
        report_seeds = _report_seeds()
        request.check_report(wanted, report_seeds)
        command.check_best(wanted, report_seeds)
        dataset = options.dataset(wanted.configs[0])
        if options.DRY_RUN.value:
            command.show_dry([wanted], dataset, report_seeds=report_seeds)
            return
        (sweep,) = command.perform([wanted], dataset)
        command.show(wanted, sweep)
        if report_seeds:
            summary = command.report_best(wanted, sweep, dataset, report_seeds)
            print(f"The best point, run once on test data with seeds 0 to {report_seeds - 1}:")
            print(comparison_table([summary]))
        print(f"Written: {wanted.folder}/sweep.csv, ranking.csv, best.json, sweep.png")


def _report_seeds() -> int:
    """Return with how many seeds the best point is run on test data, 0 for not at all."""
    if _REPORT_BEST.value:
        return 5 if _REPORT_SEEDS.value is None else _REPORT_SEEDS.value
    if _REPORT_SEEDS.value is not None:
        raise ValueError("report_seeds is given and report_best is not; it is of that run.")
    return 0


def _points(learner: str) -> tuple[list[grid.Axis], list[grid.Point]]:
    many = _YES.value
    integers = integer_names(options.benchmark(), learner, options.NETWORK.value)
    axes = [grid.parse(text, integers=integers, many=many) for text in _GRID.value]
    if _RANDOM.value is None or not axes:
        return axes, grid.product(axes, many=many) if axes else []
    (first,) = options.seeds(1, request.FIRST_SEED)
    return axes, grid.random(axes, _RANDOM.value, first, integers=integers, many=many)


if __name__ == "__main__":
    app.run(script)
