"""The main job on the packaged MNIST subset: La-MAML, ER and Online on 20 rotations, five seeds at once.

Needs no network and no data. Further flags are those of `experiments.train`.
"""

import sys

from absl import app

from experiments import train

_FLAGS = (
    "--benchmark=mnist_rotations",
    "--learner=la_maml,er,online",
    "--num_seeds=5",
    "--packaged_mnist",
    "--workdir=runs/demo",
)

if __name__ == "__main__":
    app.run(train.script, argv=[sys.argv[0], *_FLAGS, *sys.argv[1:]])
