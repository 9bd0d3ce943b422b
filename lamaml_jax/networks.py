"""The paper's networks in Flax, as `Model`s.

Every hidden unit may be gated: `gates` holds one vector per hidden layer, in order, which is multiplied onto the
layer's activations; a convolution has one gate per filter.

Dimensions: B batch, H height, W width, C classes, D units of the last hidden layer.
"""

from collections.abc import Sequence
from typing import cast

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from lamaml_jax.types import Gates, Model, Params

he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
"""Kaiming's normal initialiser, not truncated (flax's own `he_normal` is)."""


class MLP(nn.Module):
    """Dense layers with ReLU between them; inputs `[B, ...]` are flattened.

    Attributes:
        hidden: Units of each hidden layer.
        num_classes: C.
    """

    hidden: Sequence[int]
    num_classes: int

    @property
    def gate_sizes(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(self.hidden)

    def __call__(self, x: jax.Array, gates: Gates | None = None) -> jax.Array:
        """Return the logits `[B, C]` of `x [B, ...]`."""
        return self._features_and_logits(x, gates)[1]

    def features(self, x: jax.Array) -> jax.Array:
        """Return the last hidden activations `[B, D]`."""
        return self._features_and_logits(x, None)[0]

    @nn.nowrap
    def gate_params(self, params: Params, gates: Gates) -> Params:
        """Return `Model.gate_params`."""
        return _gate_chain(params, _names("Dense", len(self.hidden) + 1), gates)

    @nn.compact
    def _features_and_logits(
        self, x: jax.Array, gates: Gates | None
    ) -> tuple[jax.Array, jax.Array]:
        return _dense_layers(x, self.hidden, self.num_classes, gates)


class ConvNet(nn.Module):
    """3x3 convolutions with stride 2 and padding 1, then dense layers; ReLU after every hidden layer.

    Attributes:
        filters: Filters of each convolution.
        hidden: Units of each dense hidden layer.
        num_classes: C.
    """

    filters: Sequence[int]
    hidden: Sequence[int]
    num_classes: int

    @property
    def gate_sizes(self) -> tuple[int, ...]:
        """Filters of each convolution, then units of each dense hidden layer."""
        return (*self.filters, *self.hidden)

    def __call__(self, x: jax.Array, gates: Gates | None = None) -> jax.Array:
        """Return the logits `[B, C]` of `x [B, H, W, channels]`."""
        return self._features_and_logits(x, gates)[1]

    def features(self, x: jax.Array) -> jax.Array:
        """Return the last hidden activations `[B, D]`."""
        return self._features_and_logits(x, None)[0]

    @nn.nowrap
    def gate_params(self, params: Params, gates: Gates) -> Params:
        """Return `Model.gate_params`."""
        names = _names("Conv", len(self.filters)) + _names("Dense", len(self.hidden) + 1)
        return _gate_chain(params, names, gates)

    @nn.compact
    def _features_and_logits(
        self, x: jax.Array, gates: Gates | None
    ) -> tuple[jax.Array, jax.Array]:
        for i, filters in enumerate(self.filters):
            x = nn.Conv(filters, (3, 3), strides=2, padding=1, kernel_init=he_normal)(x)
            x = _activate(x, gates, i)
        gates = None if gates is None else gates[len(self.filters) :]
        return _dense_layers(x, self.hidden, self.num_classes, gates)


def mlp(num_classes: int, hidden: Sequence[int] = (100, 100)) -> Model:
    """Return the paper's MNIST network, 784-100-100-C with ReLU, Kaiming-normal weights and zero biases."""
    return from_flax(MLP(hidden, num_classes))


def convnet(
    num_classes: int,
    filters: Sequence[int] = (160, 160, 160),
    hidden: Sequence[int] = (320, 320),
) -> Model:
    """Return the paper's CIFAR-100 network for inputs `[B, H, W, channels]`, initialised like `mlp`.

    Args:
        num_classes: C.
        filters: Filters of each 3x3 convolution with stride 2.
        hidden: Units of each dense hidden layer.
    """
    return from_flax(ConvNet(filters, hidden, num_classes))


def from_flax(module: nn.Module) -> Model:
    """Return a Flax linen module without mutable state as a `Model`.

    Args:
        module: Maps inputs `[B, ...]` to logits `[B, C]`. What it has of `features(x)`, `gate_sizes` (and a second
            argument `gates`) and `gate_params(params, gates)` becomes the model's; see `MLP`.
    """

    def init(key: chex.PRNGKey, x: jax.Array) -> Params:
        return module.init(key, x)["params"]

    def apply(params: Params, x: jax.Array, /, gates: Gates | None = None) -> jax.Array:
        inputs = (x,) if gates is None else (x, gates)
        return cast(jax.Array, module.apply({"params": params}, *inputs))

    def features(params: Params, x: jax.Array) -> jax.Array:
        return cast(jax.Array, module.apply({"params": params}, x, method="features"))

    return Model(
        init,
        apply,
        features if callable(getattr(module, "features", None)) else None,
        getattr(module, "gate_sizes", ()),
        getattr(module, "gate_params", None),
    )


def _dense_layers(
    x: jax.Array, hidden: Sequence[int], num_classes: int, gates: Gates | None
) -> tuple[jax.Array, jax.Array]:
    """Return the activations of the last hidden layer, and the logits."""
    x = x.reshape(x.shape[0], -1)
    for i, units in enumerate(hidden):
        x = _activate(nn.Dense(units, kernel_init=he_normal)(x), gates, i)
    return x, nn.Dense(num_classes, kernel_init=he_normal)(x)


def _activate(x: jax.Array, gates: Gates | None, layer: int) -> jax.Array:
    x = nn.relu(x)
    return x if gates is None else x * gates[layer]


def _names(kind: str, count: int) -> list[str]:
    """Return the names that Flax gives to the layers of one kind, in order."""
    return [f"{kind}_{i}" for i in range(count)]


def _gate_chain(params: Params, names: Sequence[str], gates: Gates) -> Params:
    """Return the gate of every parameter of a chain of layers with kernels `[..., in, out]` and biases `[out]`."""
    joint = {}
    before = jnp.ones(1)
    for name, after in zip(names, (*gates, jnp.zeros(1)), strict=True):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        # A flattened image has its channels innermost, so that each filter's gate recurs at every position.
        inputs = jnp.tile(before, kernel.shape[-2] // len(before))
        joined = jnp.minimum(inputs[:, None], after)
        joint[name] = {
            "kernel": jnp.broadcast_to(joined, kernel.shape).astype(kernel.dtype),
            "bias": jnp.broadcast_to(after, bias.shape).astype(bias.dtype),
        }
        before = after
    return joint
