"""The matrix products of a network: in full or half precision, and with derivatives that compile well.

JAX writes the gradient of `a @ b` in b as a transposed product. Where a has one row, as in a look-ahead on single
examples, XLA's CPU compiler then copies matrices as large as the weights for every derivative of second order. Here all
derivatives of a product, of any order and in both modes, are products of the same three forms, without a transpose.

Dimensions: N rows (examples), K inputs, M outputs.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir

PRIMITIVE = "matrix_product"
"""The name of the products in a jaxpr; their parameter `form` is one of those below."""

CONTRACTED = {"nn": (1, 0), "nt": (1, 1), "tn": (0, 0)}
"""The axes that are contracted in a @ b, a @ b.T and a.T @ b."""

_OF_TWO_MATRICES = (((1,), (0,)), ((), ()))


def float32(
    a: jax.Array, b: jax.Array, dimension_numbers: Any, precision: Any = None, **kwargs: Any
) -> jax.Array:
    """Return `a [N, K] @ b [K, M]` in the operands' own dtype; other products are left to JAX.

    Takes the place of `jax.lax.dot_general` in a network.

    Args:
        a: `[N, K]`.
        b: `[K, M]`.
        dimension_numbers: Those of a product of two matrices.
        precision: As `jax.lax.dot_general` takes it.
        **kwargs: As `jax.lax.dot_general` takes them.
    """
    if not _are_matrices(a, b, dimension_numbers) or a.dtype != b.dtype:
        return jax.lax.dot_general(a, b, dimension_numbers, precision=precision, **kwargs)
    return _product_p.bind(a, b, form="nn", precision=precision, is_rounded=False)


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
    if not _are_matrices(a, b, dimension_numbers):
        raise ValueError(
            f"dimension_numbers is {dimension_numbers}; it must be a matrix times a matrix."
        )
    return _product_p.bind(a, b, form="nn", precision=None, is_rounded=True)


def _are_matrices(a: jax.Array, b: jax.Array, dimension_numbers: Any) -> bool:
    return a.ndim == b.ndim == 2 and dimension_numbers == _OF_TWO_MATRICES


def _compute(
    a: jax.Array, b: jax.Array, *, form: str, precision: Any, is_rounded: bool
) -> jax.Array:
    dtype = a.dtype
    if is_rounded:
        a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    elif form == "tn" and len(a) == 1:
        # Elementwise, XLA fuses it into what it is read by, and a gradient of one example is never written.
        return a[0][:, None] * b[0][None, :]
    (of_a, of_b) = CONTRACTED[form]
    dimensions = (((of_a,), (of_b,)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, precision, preferred_element_type=dtype)


def _shape(a: Any, b: Any, *, form: str, **_: Any) -> jax.core.ShapedArray:
    of_a, of_b = CONTRACTED[form]
    return jax.core.ShapedArray((a.shape[1 - of_a], b.shape[1 - of_b]), a.dtype)


def _gradient_of_a(gradient: jax.Array, a: Any, b: jax.Array, *, form: str, **how: Any) -> Any:
    if form == "tn":
        return _product_p.bind(b, gradient, form="nt", **how)
    return _product_p.bind(gradient, b, form="nt" if form == "nn" else "nn", **how)


def _gradient_of_b(gradient: jax.Array, a: jax.Array, b: Any, *, form: str, **how: Any) -> Any:
    if form == "nt":
        return _product_p.bind(gradient, a, form="tn", **how)
    return _product_p.bind(a, gradient, form="tn" if form == "nn" else "nn", **how)


def _batched(operands: Any, axes: Any, **how: Any) -> tuple[jax.Array, int]:
    return jax.vmap(functools.partial(_compute, **how), axes)(*operands), 0


_product_p = core.Primitive(PRIMITIVE)
_product_p.def_impl(jax.jit(_compute, static_argnames=("form", "precision", "is_rounded")))
_product_p.def_abstract_eval(_shape)
ad.defbilinear(_product_p, _gradient_of_a, _gradient_of_b)
batching.primitive_batchers[_product_p] = _batched
mlir.register_lowering(_product_p, mlir.lower_fun(_compute, multiple_results=False))
