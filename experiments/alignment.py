"""Measure how far the gradients of old and new tasks point the same way, as tasks arrive (Appendix D, Figure 4).

    python -m experiments.alignment --benchmark=mnist_rotations --data_dir=DATA --workdir=runs/alignment

ER, C-MAML, Sync La-MAML and La-MAML are trained at their presets; as each task arrives, one gradient is taken for every
task seen and for the new one, from what the memory holds and from held-out data. Prints the means over the paper's
tasks 2 to 11. What is measured changes nothing of the runs, which resume like those of `experiments.train`.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/alignment.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

import dataclasses

from absl import app

from experiments.analyses import alignment, folder
from experiments.cluster import driver
from experiments.cluster import options as cluster_options
from experiments.process import console, options
from experiments.runs import runner, workdirs
from experiments.runs.config import Config
from experiments.runs.making import assignments_for, make_config
from lamaml_jax import hyper


def script(argv: Sequence[str]) -> None:
    """Set the process up and run the learners."""
    cluster_options.set_up(lambda: options.num_seeds(5))
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run the learners and print the table."""
    with console.plain_errors():
        options.refuse_arguments(argv)
        learners = options.learners(alignment.LEARNERS)
        configs = [_config(learner, learners) for learner in learners]
        root, dataset = options.workdir(), options.dataset(configs[0])
        runs = [(config, root / config.learner) for config in configs]
        if (num_tasks := configs[0].make_benchmark(dataset).setting.num_tasks) < 2:
            raise ValueError(
                f"num_tasks is {num_tasks}; it must be at least 2, an old task and a new one."
            )
        names, seeds = [config.learner for config in configs], list(configs[0].seeds)
        settings = folder.settings_of(configs, dataset)
        about = folder.About("alignment", configs[0].benchmark, names, seeds, names, {}, settings)
        folder.check(root, about)
        with workdirs.reserve(runs, dataset):
            folder.begin(root, about)
            driver.compute(runs, dataset)
            for config, workdir in runs:
                runner.run(
                    config, dataset, workdir, checkpoint_minutes=options.CHECKPOINT_MINUTES.value
                )
            results = {name: workdirs.read_results(root / name) for name in names}
            workdirs.write_json(root / "alignment.json", alignment.numbers(results))
            folder.show(root, about, alignment.parts(results))
            folder.finish(root, about)


def _config(learner: str, learners: Sequence[str]) -> Config:
    if learner not in alignment.LEARNERS:
        raise ValueError(
            hyper.unknown("learner whose alignment is measured", learner, alignment.LEARNERS)
        )
    config = make_config(
        **options.settings(),
        learner=learner,
        assignments=assignments_for(learner, learners, options.SET.value),
        seeds=options.seeds(options.num_seeds(5), first=0),
        eval="needed",
    )
    return dataclasses.replace(config, probe="alignment")


if __name__ == "__main__":
    app.run(script)
