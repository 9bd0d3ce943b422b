"""The main job on the packaged MNIST subset: La-MAML, ER and Online on 20 rotations, two seeds at once.

Needs no network and no data. It is over soon even on two cores: each takes one seed, and tasks to come, which no curve
shows, are not evaluated. Further flags are those of `experiments.train`.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/demo.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app

from experiments import train

_FLAGS = (
    "--benchmark=mnist_rotations",
    "--learner=la_maml,er,online",
    "--num_seeds=2",
    "--eval=seen",
    "--packaged_mnist",
    "--workdir=runs/demo",
)

if __name__ == "__main__":
    app.run(train.script, argv=[sys.argv[0], *_FLAGS, *sys.argv[1:]])
