"""Matrix products of float32 arrays in bfloat16, with gradients of all orders that are such products as well."""

from typing import Any

import jax
import jax.numpy as jnp


def bfloat16(
    a: jax.Array, b: jax.Array, dimension_numbers: Any, precision: Any = None, **kwargs: Any
) -> jax.Array:
    """Return `a [N, K] @ b [K, M]` of operands rounded to bfloat16, summed and returned in their own dtype.

    Takes the place of `jax.lax.dot_general` in a network whose products are of two matrices.

    Args:
        a: `[N, K]`.
        b: `[K, M]`.
        dimension_numbers: Those of a product of two matrices.
        precision: Ignored, as what it would choose is chosen.
        **kwargs: Ignored.

    Raises:
        ValueError: The product is of another kind.
    """
    if dimension_numbers != (((1,), (0,)), ((), ())):
        raise ValueError(
            f"dimension_numbers is {dimension_numbers}; it must be a matrix times a matrix."
        )
    return _product(a, b)


@jax.custom_vjp
def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(
        a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=a.dtype
    )


def _forward(a: jax.Array, b: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _product(a, b), (a, b)


def _backward(
    operands: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    a, b = operands
    return _product(gradient, b.T), _product(a.T, gradient)


_product.defvjp(_forward, _backward)
