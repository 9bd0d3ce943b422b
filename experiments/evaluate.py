"""Evaluate a finished run's trained learner anew, and compare with what was measured when it was trained.

    python -m experiments.evaluate runs/rotations --data_dir=DATA

On the images of the run the accuracies are the last row of its accuracy matrix, digit for digit; what differs is said,
and makes the exit status 1.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/evaluate.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

import numpy as np
from absl import app

from experiments.process import console, options
from experiments.reporting.summary import title
from experiments.reporting.tables import markdown
from experiments.runs import catalogue, finished
from lamaml_jax import Result
from lamaml_jax.training.tabulating import shown


def script(argv: Sequence[str]) -> None:
    """Set the process up as the run's was, and evaluate."""
    finished.set_up(argv)
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Evaluate, print, and compare."""
    with console.plain_errors():
        config, folder = finished.config(argv), console.path("run", argv[1])
        benchmark = config.make_benchmark(options.dataset(config))
        given = {"stream": benchmark, "learner": catalogue.learner(config.learner)}
        given["model"] = config.model(benchmark.setting.num_classes)
        result = Result.load(folder, **given)
        found = result.evaluate(eval_batch=config.eval_batch())
    print(f"{title(config)}, accuracy in percent after training:")
    runs = [
        " ".join([*(f"{n}={shown(v)}" for n, v in point.items()), f"seed {seed}"])
        for point, seed in result.plan.runs.each()
    ]
    rows = [["task", *runs]]
    for task, of_seeds in enumerate(found.T, start=1):
        rows.append([str(task), *(f"{100 * value:.2f}" for value in of_seeds)])
    rows.append(["mean", *(f"{100 * value:.2f}" for value in found.mean(axis=1))])
    print(markdown(rows))
    measured = result.accuracy[:, -1]
    differs = ~((found == measured) | (np.isnan(found) & np.isnan(measured)))
    if differs.any():
        run, task = np.argwhere(differs)[0]
        sys.exit(
            f"These are not what the run measured: {runs[run]} had {100 * measured[run, task]:.2f} on task "
            f"{task + 1}. Other images, versions or devices may be why."
        )
    print("These are the accuracies that the run measured, digit for digit.")


if __name__ == "__main__":
    app.run(script)
