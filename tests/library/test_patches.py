"""A convolution as a product of patches, against JAX's own."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from helpers import assert_close, assert_same_bits

from lamaml_jax import Model, networks
from lamaml_jax.updates import hypergradients

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)


def small(convolution: Any) -> Model:
    return networks.convnet(5, filters=(3, 4), hidden=(6,), convolution=convolution)


def values_and_gradients(model: Model, params: Any, side: int) -> Any:
    """Return the logits, and the loss and hypergradients of second order after two inner steps."""
    x = jax.random.normal(jax.random.key(2), (6, side, side, 3))
    lrs = jax.tree.map(lambda p: jnp.full_like(p, 0.01), params)
    pieces = [x[:2], x[2:4]]

    def loss_fn(params: Any, x: jax.Array) -> jax.Array:
        return (model.apply(params, x) ** 2).mean()

    def compute(params: Any) -> Any:
        return model.apply(params, x), hypergradients(
            loss_fn, params, lrs, pieces, x, order="second"
        )

    return jax.jit(compute)(params)


@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_a_product_of_patches_is_a_convolution_in_values_and_gradients(
    side: int, double: bool
) -> None:
    with jax.enable_x64(double):
        patches, lax = small("patches"), small("lax")
        x = jnp.zeros((1, side, side, 3))
        params = patches.init(KEY, x)
        assert_same_bits(params, lax.init(KEY, x))
        params = jax.tree.map(lambda p: p.astype(x.dtype), params)
        found = values_and_gradients(patches, params, side)
        expected = values_and_gradients(lax, params, side)
        assert all(leaf.dtype == x.dtype for leaf in jax.tree.leaves(found))
        assert_close(found, expected, 1e-10 if double else 1e-5)
