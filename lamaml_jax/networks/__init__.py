"""Networks as `Model`s: the paper's, and those of other libraries; a plain function is `Model(init, apply)`."""

from lamaml_jax.networks.adapters import from_equinox, from_flax, from_haiku, from_nnx
from lamaml_jax.networks.outputs import check_outputs
from lamaml_jax.networks.paper import (
    MLP,
    ConvNet,
    Convolution,
    Initializer,
    Precision,
    convnet,
    mlp,
)

__all__ = [
    "MLP",
    "ConvNet",
    "Convolution",
    "Initializer",
    "Precision",
    "check_outputs",
    "convnet",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_nnx",
    "mlp",
]
