"""The main job on the packaged MNIST subset: La-MAML, ER and Online on 20 rotations, two seeds at once.

Needs no network and no data. It is over soon even on two cores: each takes one seed, and tasks to come, which no curve
shows, are not evaluated. It ends with a page of the results, report.html. Further flags are those of
`experiments.train`.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/demo.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from collections.abc import Sequence

from absl import app, flags

from experiments import train
from experiments.process import console, options

_FLAGS = (
    "--benchmark=mnist_rotations",
    "--learner=la_maml,er,online",
    "--num_seeds=2",
    "--eval=seen",
    "--packaged_mnist",
    "--diagnostics",
    "--workdir=runs/demo",
)


def script(argv: Sequence[str]) -> None:
    """Train, and make a page of the results."""
    train.script(argv)
    if options.DRY_RUN.value:
        return
    root = console.path("workdir", flags.FLAGS.workdir)
    with console.only_warned(f"{root} lacks a report"):
        # An import that can fail in a user's surroundings.
        from experiments.reporting import page

        page.write([root], root / "report.html")


if __name__ == "__main__":
    app.run(script, argv=[sys.argv[0], *_FLAGS, *sys.argv[1:]])
