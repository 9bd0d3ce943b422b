"""A small trained La-MAML with its learnt rates, to look into at once.

`python -m lamaml_jax.training.packaged` makes it: five rotations of the packaged MNIST subset, a network of one hidden
layer of 32 units, 50 examples in memory, seed 0.
"""

import pathlib

from lamaml_jax import networks, streams
from lamaml_jax.datasets import load_packaged_mnist
from lamaml_jax.learners import la_maml
from lamaml_jax.training.result import Result
from lamaml_jax.training.train import train

FOLDER = pathlib.Path(__file__).parent


def load_packaged_la_maml() -> Result:
    """Return the packaged La-MAML: one run on five MNIST rotations, with its stream.

    Example:
        >>> from lamaml_jax import load_packaged_la_maml
        >>> result = load_packaged_la_maml()
        >>> result.state.lrs["Dense_0"][
        ...     "kernel"
        ... ].shape  # a rate for every weight from the pixels to the hidden units
        (1, 784, 32)
    """
    return Result.load(FOLDER, stream=_stream())


def make() -> Result:
    """Train it; the numbers depend on the machine in their last digits."""
    return train(la_maml, networks.mlp(10, (32,)), _stream(), memory=50)


def _stream() -> streams.Benchmark:
    return streams.mnist_rotations(load_packaged_mnist(), num_tasks=5)
