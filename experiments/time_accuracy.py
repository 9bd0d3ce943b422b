"""Measure retained accuracy against what training costs (Appendix F, Figure 7).

    python -m experiments.time_accuracy --benchmark=mnist_rotations --data_dir=DATA --workdir=runs/time_accuracy

ER, iCaRL, GEM, A-GEM, C-MAML and La-MAML at their presets, each with several numbers of glances (in the multi-pass
protocol: of epochs). Cost is counted in seconds of training per seed, without compiling, which is shown apart, and in
example-gradients, which no machine changes. Nothing else should run meanwhile. Validation data are
evaluated unless --eval_split=test is given.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(
    0, str(pathlib.Path(__file__).parents[1])
)  # for `python experiments/time_accuracy.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments.analyses import folder, time_accuracy
from experiments.analyses.cost import gradients_per_run
from experiments.cluster import options as cluster_options
from experiments.process import console, options
from experiments.runs import catalogue, workdirs
from experiments.runs.config import Config
from experiments.runs.making import assignments_for, make_config
from experiments.sweeps import command, grid, request
from experiments.sweeps.results import Sweep
from lamaml_jax.datasets import ImageDataset

_PASSES = flags.DEFINE_list(
    "passes", ["1", "2", "3", "5", "10"], "Numbers of glances, or of epochs"
)


def script(argv: Sequence[str]) -> None:
    """Set the process up and run the learners."""
    cluster_options.set_up(lambda: options.num_seeds(3))
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run the learners, print and draw the costs."""
    with console.plain_errors():
        options.refuse_arguments(argv)
        learners, left_out = _learners()
        wanted = {learner: _request(learner, learners) for learner in learners}
        first = wanted[learners[0]]
        root, dataset = options.workdir(), options.dataset(first.configs[0])
        configs = [one.configs[0] for one in wanted.values()]
        settings = folder.settings_of(configs, dataset, passes=list(first.axes[0].values))
        about = folder.About(
            analysis="time_accuracy",
            benchmark=configs[0].benchmark,
            learners=learners,
            seeds=list(configs[0].seeds),
            folders=[catalogue.short(name) for name in learners],
            options={"left_out": left_out},
            settings=settings,
        )
        folder.check(root, about)
        for one in wanted.values():
            command.check(one, dataset)
        folder.begin(root, about)
        sweeps = command.perform(list(wanted.values()), dataset)
        curves = {
            name: _curve(wanted[name], sweep, dataset)
            for name, sweep in zip(wanted, sweeps, strict=True)
        }
        workdirs.write_json(root / time_accuracy.FILE, time_accuracy.costs(curves))
        folder.show(root, about, time_accuracy.parts(curves, left_out))
        folder.finish(root, about)


def _learners() -> tuple[list[str], list[str]]:
    """Return those that run, and those of the paper's that need what the stream does not tell."""
    learners = options.learners(time_accuracy.LEARNERS)
    if options.LEARNER.value is not None:
        return learners, []
    left_out = [name for name in learners if _preset(name, learners).lacks_task_ids()]
    return [name for name in learners if name not in left_out], left_out


def _preset(learner: str, learners: Sequence[str]) -> Config:
    own = assignments_for(learner, learners, options.SET.value)
    return make_config(**options.settings(), learner=learner, assignments=own, seeds=(0,))


def _request(learner: str, learners: Sequence[str]) -> request.Request:
    name = "epochs" if options.PROTOCOL.value == "multi" else "glances"
    axis = grid.listed(name, _PASSES.value, f"passes is {','.join(_PASSES.value)!r}")
    points = grid.product([axis])
    workdir = options.workdir() / catalogue.short(learner)
    return request.make(learner, [axis], points, workdir, num_seeds=3, learners=learners)


def _curve(of: request.Request, sweep: Sweep, dataset: ImageDataset | None) -> time_accuracy.Curve:
    gradients = [gradients_per_run(config, config.make_benchmark(dataset)) for config in of.configs]
    return time_accuracy.Curve(sweep, gradients)


if __name__ == "__main__":
    app.run(script)
