"""The matrix products of a network: in full or half precision, and with derivatives that compile well.

JAX writes the gradient of `a @ b` in b as a transposed product. Where a has one row, as in a look-ahead on single
examples, XLA's CPU compiler then copies matrices as large as the weights for every derivative of second order. Here all
derivatives of a product, of any order and in both modes, are products of the same three forms, without a transpose.

Dimensions: N rows (examples), K inputs, M outputs, S entries of a mapped axis.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir

PRIMITIVE = "matrix_product"
"""The name of the products in a jaxpr; their parameter `form` is one of those below."""

CONTRACTED = {"nn": (-1, -2), "nt": (-1, -1), "tn": (-2, -2)}
"""The axes that are contracted in a @ b, a @ b.T and a.T @ b."""

_OF_TWO_MATRICES = (((1,), (0,)), ((), ()))


def float32(
    a: jax.Array, b: jax.Array, dimension_numbers: Any, precision: Any = None, **kwargs: Any
) -> jax.Array:
    """Return `a [N, K] @ b [K, M]` in the operands' own dtype.

    Takes the place of `jax.lax.dot_general` in a network; all but products of one row, N = 1, are left to it.

    Args:
        a: `[N, K]`.
        b: `[K, M]`.
        dimension_numbers: Those of a product of two matrices.
        precision: As `jax.lax.dot_general` takes it.
        **kwargs: As `jax.lax.dot_general` takes them.
    """
    is_other = a.dtype != b.dtype or any(value is not None for value in kwargs.values())
    if is_other or not _are_matrices(a, b, dimension_numbers) or len(a) > 1:
        return jax.lax.dot_general(a, b, dimension_numbers, precision=precision, **kwargs)
    # Not left to the compiler, which no longer knows of a context in which this was traced.
    config: Any = jax.config  # which newer versions of JAX annotate otherwise
    precision = precision or config.jax_default_matmul_precision
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
    """Multiply matrices in the last two axes; the axes before them are the same of both."""
    dtype, leading = a.dtype, tuple(range(a.ndim - 2))
    if is_rounded:
        a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    elif form == "tn" and a.shape[-2] == 1:
        # Elementwise, XLA fuses it into what it is read by, and a gradient of one example is never written.
        return a[..., 0, :, None] * b[..., 0, None, :]
    of_a, of_b = (axis + a.ndim for axis in CONTRACTED[form])
    dimensions = (((of_a,), (of_b,)), (leading, leading))
    return jax.lax.dot_general(a, b, dimensions, precision, preferred_element_type=dtype)


def _shape(a: Any, b: Any, *, form: str, **_: Any) -> jax.core.ShapedArray:
    kept = (x.shape[-3 - axis] for x, axis in zip((a, b), CONTRACTED[form], strict=True))
    return jax.core.ShapedArray((*a.shape[:-2], *kept), a.dtype)


def _gradient_of_a(gradient: jax.Array, a: Any, b: jax.Array, *, form: str, **how: Any) -> Any:
    if form == "tn":
        return _product_p.bind(b, gradient, form="nt", **how)
    return _product_p.bind(gradient, b, form="nt" if form == "nn" else "nn", **how)


def _gradient_of_b(gradient: jax.Array, a: jax.Array, b: Any, *, form: str, **how: Any) -> Any:
    if form == "nt":
        return _product_p.bind(gradient, a, form="tn", **how)
    return _product_p.bind(a, gradient, form="tn" if form == "nn" else "nn", **how)


def _batched(operands: Any, axes: Any, *, form: str, **how: Any) -> tuple[jax.Array, int]:
    """Map a product over one more leading axis."""
    size = next(x.shape[i] for x, i in zip(operands, axes, strict=True) if i is not None)
    a, b = (x if i is None else jnp.moveaxis(x, i, 0) for x, i in zip(operands, axes, strict=True))
    if axes[1] is None and b.ndim == 2 and form != "tn":  # of shared weights: more rows
        rows = _product_p.bind(a.reshape(-1, a.shape[-1]), b, form=form, **how)
        return rows.reshape(*a.shape[:-1], -1), 0
    a, b = (
        jnp.broadcast_to(x, (size, *x.shape)) if i is None else x
        for x, i in zip((a, b), axes, strict=True)
    )
    return _product_p.bind(a, b, form=form, **how), 0


_product_p = core.Primitive(PRIMITIVE)
_product_p.def_impl(jax.jit(_compute, static_argnames=("form", "precision", "is_rounded")))
_product_p.def_abstract_eval(_shape)
ad.defbilinear(_product_p, _gradient_of_a, _gradient_of_b)
batching.primitive_batchers[_product_p] = _batched
mlir.register_lowering(_product_p, mlir.lower_fun(_compute, multiple_results=False))
