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
import functools

import numpy as np
from absl import app

from experiments.analyses import alignment
from experiments.process import console, options
from experiments.reporting import tables
from experiments.reporting.pictures import draw_anew
from experiments.reporting.summary import title_of
from experiments.runs import runner, workdirs
from experiments.runs.config import Config
from experiments.runs.making import make_config
from lamaml_jax import hyper

_LAST = 11  # the paper's last task


def script(argv: Sequence[str]) -> None:
    """Set the process up and run the learners."""
    options.set_up(lambda: options.num_seeds(5))
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run the learners and print the table."""
    with console.plain_errors():
        options.refuse_arguments(argv)
        configs = [_config(learner) for learner in options.learners(alignment.LEARNERS)]
        root, dataset = options.workdir(), options.dataset(configs[0].dataset)
        runs = [(config, root / config.learner) for config in configs]
        configs[0].make_benchmark(dataset)
        with workdirs.reserve(runs, dataset):
            for config, folder in runs:
                runner.run(config, dataset, folder)
            _show(root, configs, [workdirs.read_results(folder) for _, folder in runs])


def _config(learner: str) -> Config:
    if learner not in alignment.LEARNERS:
        raise ValueError(
            hyper.unknown("learner whose alignment is measured", learner, alignment.LEARNERS)
        )
    config = make_config(
        **options.settings(),
        learner=learner,
        assignments=options.SET.value,
        seeds=options.seeds(options.num_seeds(5), first=0),
        eval="needed",
    )
    return dataclasses.replace(config, probe="alignment")


def _show(root: pathlib.Path, configs: list[Config], found: list[dict[str, np.ndarray]]) -> None:
    last = min(_LAST, configs[0].stream["num_tasks"])
    numbers = {
        config.learner: alignment.means(results, last)
        for config, results in zip(configs, found, strict=True)
    }
    workdirs.write_json(root / "alignment.json", numbers)
    for what, factor in (("cosine", 100), ("dot", 1)):
        table = alignment.table(numbers, what, factor)
        tables.write(root / f"alignment_{what}.csv", table)
        print(f"Mean {what}{' x 100' if factor > 1 else ''} over tasks 2 to {last}:")
        print(tables.markdown(table))
    title = f"{configs[0].benchmark}, {len(configs[0].seeds)} seeds"
    runs = {title_of(c.learner): results for c, results in zip(configs, found, strict=True)}
    for what in ("cosine", "dot"):
        plot = functools.partial(alignment.plot, runs, what, title)
        print(*draw_anew(root / f"alignment_{what}.png", plot))


if __name__ == "__main__":
    app.run(script)
