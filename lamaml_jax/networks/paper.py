"""The paper's networks in Flax, as `Model`s.

Every hidden unit may be gated: `gates` holds one vector per hidden layer, in order, which is multiplied onto the
layer's activations; a convolution has one gate per filter.

Dimensions: B batch, H height, W width, C classes, D units of the last hidden layer.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from lamaml_jax import checks, products
from lamaml_jax.networks.adapters import from_flax
from lamaml_jax.networks.patches import PatchConv, patches_of
from lamaml_jax.types import Gates, Model, Params

Convolution: TypeAlias = Literal["patches", "lax"]
Initializer: TypeAlias = Literal["kaiming", "xavier", "xavier_uniform"]
Precision: TypeAlias = Literal["float32", "bfloat16"]

# Neither is truncated, as flax's own of these names are.
_INITIALIZERS = {
    "kaiming": nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
    "xavier": nn.initializers.variance_scaling(1.0, "fan_avg", "normal"),
    "xavier_uniform": nn.initializers.variance_scaling(1.0, "fan_avg", "uniform"),
}


class MLP(nn.Module):
    """Dense layers with ReLU between them; inputs `[B, ...]` are flattened.

    Attributes:
        hidden: Units of each hidden layer.
        num_classes: C.
        kernel_init: Initialises the weights; the biases start at zero.
        dot_general: Multiplies matrices.
    """

    hidden: Sequence[int]
    num_classes: int
    kernel_init: Callable[..., jax.Array] = _INITIALIZERS["kaiming"]
    dot_general: Callable[..., jax.Array] = jax.lax.dot_general

    @property
    def gate_sizes(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(self.hidden)

    def __call__(self, x: jax.Array, gates: Gates | None = None) -> jax.Array:
        """Return the logits `[B, C]` of `x [B, ...]`."""
        return self._inputs_and_logits(x, gates)[1]

    def features(self, x: jax.Array) -> jax.Array:
        """Return the last hidden activations `[B, D]`."""
        return self._inputs_and_logits(x, None)[0][-1]

    @property
    def kernels(self) -> tuple[str, ...]:
        """`Model.kernels`."""
        return tuple(f"{name}/kernel" for name in self._layers)

    def layer_inputs(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """Return what each layer gets of `x [B, ...]`: `[B, D]`."""
        return tuple(self._inputs_and_logits(x, None)[0])

    @nn.nowrap
    def gate_params(self, params: Params, gates: Gates) -> Params:
        """Return `Model.gate_params`."""
        return _gate_chain(params, self._layers, gates)

    @property
    def _layers(self) -> list[str]:
        return _names("Dense", len(self.hidden) + 1)

    @nn.compact
    def _inputs_and_logits(
        self, x: jax.Array, gates: Gates | None
    ) -> tuple[list[jax.Array], jax.Array]:
        return _dense_layers(self, x, gates)


class ConvNet(nn.Module):
    """3x3 convolutions with stride 2 and padding 1, then dense layers; ReLU after every hidden layer.

    Attributes:
        filters: Filters of each convolution.
        hidden: Units of each dense hidden layer.
        num_classes: C.
        kernel_init: Initialises the weights; the biases start at zero.
        dot_general: Multiplies matrices.
        convolution: See `convnet`.
    """

    filters: Sequence[int]
    hidden: Sequence[int]
    num_classes: int
    kernel_init: Callable[..., jax.Array] = _INITIALIZERS["kaiming"]
    dot_general: Callable[..., jax.Array] = jax.lax.dot_general
    convolution: Convolution = "patches"

    @property
    def gate_sizes(self) -> tuple[int, ...]:
        """Filters of each convolution, then units of each dense hidden layer."""
        return (*self.filters, *self.hidden)

    def __call__(self, x: jax.Array, gates: Gates | None = None) -> jax.Array:
        """Return the logits `[B, C]` of `x [B, H, W, channels]`."""
        return self._inputs_and_logits(x, gates)[1]

    def features(self, x: jax.Array) -> jax.Array:
        """Return the last hidden activations `[B, D]`."""
        return self._inputs_and_logits(x, None)[0][-1]

    @property
    def kernels(self) -> tuple[str, ...]:
        """`Model.kernels`."""
        return tuple(f"{name}/kernel" for name in self._layers)

    def layer_inputs(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """Return what each layer gets of `x`: a convolution patches `[B * h * w, 9 channels]`, the others `[B, D]`."""
        inputs, _ = self._inputs_and_logits(x, None)
        images, vectors = inputs[: len(self.filters)], inputs[len(self.filters) :]
        patches = map(patches_of, images)
        return (*(p.reshape(-1, p.shape[-1]) for p in patches), *vectors)

    @nn.nowrap
    def gate_params(self, params: Params, gates: Gates) -> Params:
        """Return `Model.gate_params`."""
        return _gate_chain(params, self._layers, gates)

    @property
    def _layers(self) -> list[str]:
        return _names("Conv", len(self.filters)) + _names("Dense", len(self.hidden) + 1)

    @nn.compact
    def _inputs_and_logits(
        self, x: jax.Array, gates: Gates | None
    ) -> tuple[list[jax.Array], jax.Array]:
        if x.ndim != 4:
            raise checks.Refusal(
                f"the inputs are of shape {x.shape}; a convnet takes images [B, H, W, channels]."
            )
        images = []
        for i, filters in enumerate(self.filters):
            images.append(x)
            layer: nn.Module
            if self.convolution == "lax":
                layer = nn.Conv(filters, (3, 3), strides=2, padding=1, kernel_init=self.kernel_init)
            else:
                layer = PatchConv(filters, self.kernel_init, self.dot_general, name=f"Conv_{i}")
            x = _activate(layer(x), gates, i)
        gates = None if gates is None else gates[len(self.filters) :]
        vectors, logits = _dense_layers(self, x, gates)
        return images + vectors, logits


def mlp(
    num_classes: int,
    hidden: Sequence[int] = (100, 100),
    *,
    initializer: Initializer = "kaiming",
    precision: Precision = "float32",
) -> Model:
    """Return the paper's MNIST network, 784-100-100-C with ReLU and zero biases.

    Args:
        num_classes: C.
        hidden: Units of each hidden layer.
        initializer: Draw normal weights of Kaiming's variance 2 / fan_in, or of "xavier", 2 / (fan_in + fan_out);
            "xavier_uniform" draws uniform ones of the latter variance (as MER's code does).
        precision: Of the matrix products, gradients of all orders included. "bfloat16" rounds their operands just
            before each product, which sums in float32; all else stays float32.

    Raises:
        ValueError: An argument is not one of its choices, or no number of outputs or units.
    """
    checks.integer("num_classes", num_classes, 1)
    hidden = _layers("hidden", hidden)
    source = {
        **{"name": "mlp", "num_classes": num_classes, "hidden": list(hidden)},
        **{"initializer": initializer, "precision": precision},
    }
    model = from_flax(MLP(hidden, num_classes, **_options(initializer, precision)))
    return model._replace(source=source)


def convnet(
    num_classes: int,
    filters: Sequence[int] = (160, 160, 160),
    hidden: Sequence[int] = (320, 320),
    *,
    convolution: Convolution = "patches",
    initializer: Initializer = "kaiming",
    precision: Precision = "float32",
) -> Model:
    """Return the paper's CIFAR-100 network for inputs `[B, H, W, channels]`.

    Args:
        num_classes: C.
        filters: Filters of each 3x3 convolution with stride 2.
        hidden: Units of each dense hidden layer.
        convolution: "patches" times a matrix, or `jax.lax`'s own convolution, which is the same function and on CPU
            many times slower.
        initializer: See `mlp`.
        precision: See `mlp`; "bfloat16" goes with "patches" only.

    Raises:
        ValueError: An argument is not one of its choices, or no number of outputs or units.
    """
    checks.integer("num_classes", num_classes, 1)
    filters, hidden = _layers("filters", filters), _layers("hidden", hidden)
    checks.choice("convolution", convolution, Convolution)
    if (convolution, precision) == ("lax", "bfloat16"):
        raise ValueError(
            "precision is 'bfloat16'; it must be 'float32' with the convolution 'lax'."
        )
    options = _options(initializer, precision)
    source = {
        **{"name": "convnet", "num_classes": num_classes, "filters": list(filters)},
        **{"hidden": list(hidden), "convolution": convolution},
        **{"initializer": initializer, "precision": precision},
    }
    model = from_flax(ConvNet(filters, hidden, num_classes, **options, convolution=convolution))
    return model._replace(source=source)


def _layers(name: str, sizes: Any) -> tuple[int, ...]:
    """Return the sizes of layers; raise ValueError unless they are integers above 0."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise ValueError(f"{name} is {sizes!r}; it must be integers >= 1, one for each layer.")
    sizes = tuple(sizes)
    for i, size in enumerate(sizes):
        checks.integer(f"{name}[{i}]", size, 1)
    return tuple(map(int, sizes))


def _options(initializer: Initializer, precision: Precision) -> dict[str, Any]:
    """Return the attributes of a module that stand for these names."""
    checks.choice("initializer", initializer, Initializer)
    checks.choice("precision", precision, Precision)
    dot_general = products.bfloat16 if precision == "bfloat16" else products.float32
    return {"kernel_init": _INITIALIZERS[initializer], "dot_general": dot_general}


def _dense_layers(
    module: MLP | ConvNet, x: jax.Array, gates: Gates | None
) -> tuple[list[jax.Array], jax.Array]:
    """Return the inputs of each layer, of which the last are the features, and the logits."""

    def dense(units: int) -> nn.Dense:
        return nn.Dense(units, kernel_init=module.kernel_init, dot_general=module.dot_general)

    x = x.reshape(x.shape[0], -1)
    inputs = [x]
    for i, units in enumerate(module.hidden):
        x = _activate(dense(units)(x), gates, i)
        inputs.append(x)
    return inputs, dense(module.num_classes)(x)


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
