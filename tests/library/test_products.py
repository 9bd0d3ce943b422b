"""Products with derivatives of their own are JAX's products: in value, all derivatives, and mapped."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

from benchmarks.flops import product_flops
from lamaml_jax import products

pytestmark = pytest.mark.usefixtures("quick_compile")

OF_TWO = (((1,), (0,)), ((), ()))


def operands(rows: int, *batch: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(rows)
    return jnp.asarray(rng.normal(size=(*batch, rows, 3))), jnp.asarray(
        rng.normal(size=(*batch, 3, 2))
    )


def curved(product: Any) -> Any:
    return lambda a, b: jnp.sum(jnp.sin(product(a, b, OF_TWO)))


DERIVATIVES = {
    "value": lambda f: f,
    "reverse": lambda f: jax.grad(f, argnums=(0, 1)),
    "reverse over reverse": lambda f: jax.jacrev(jax.grad(f, argnums=(0, 1)), argnums=(0, 1)),
    "forward over reverse": lambda f: jax.hessian(f, argnums=(0, 1)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f, argnums=(0, 1)), argnums=(0, 1)),
}


@pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES)
@pytest.mark.parametrize("rows", [1, 4])
def test_derivatives_of_any_order_and_mode_are_those_of_jax(
    rows: int, derivative: Any, x64: None
) -> None:
    a, b = operands(rows)
    found, expected = (
        jax.jit(derivative(curved(product)))(a, b)
        for product in (products.float32, jax.lax.dot_general)
    )
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (1, 2)])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("product", [products.float32, products.bfloat16])
def test_mapped_before_or_after_differentiation_it_is_the_same_product(
    product: Any, rows: int, axes: tuple[int | None, int | None]
) -> None:
    single = [x.astype(jnp.float32) for x in operands(rows, 5)]
    f = curved(product)
    one_by_one = [
        jax.grad(f, argnums=(0, 1))(
            *(x[0 if i is None else k] for x, i in zip(single, axes, strict=True))
        )
        for k in range(5)
    ]
    stacked = [jnp.stack(gradients) for gradients in zip(*one_by_one, strict=True)]
    mapped = [
        x[0] if i is None else jnp.moveaxis(x, 0, i) for x, i in zip(single, axes, strict=True)
    ]
    assert_close(jax.vmap(jax.grad(f, argnums=(0, 1)), axes)(*mapped), tuple(stacked), 1e-6)
    together = jax.grad(lambda a, b: jax.vmap(f, axes)(a, b).sum(), argnums=(0, 1))(*mapped)
    expected = [
        x.sum(axis=0) if i is None else jnp.moveaxis(x, 0, i)
        for x, i in zip(stacked, axes, strict=True)
    ]
    # In half precision the sum over what shares an operand is one product, of which each gradient is rounded.
    is_rounded = product is products.bfloat16 and None in axes
    assert_close(together, tuple(expected), 1e-2 if is_rounded else 1e-5)


def test_it_takes_the_precision_of_where_it_is_traced() -> None:
    a, b = (x.astype(jnp.float32) for x in operands(1))

    def lowered(product: Any) -> str:
        def f(a: jax.Array, b: jax.Array) -> jax.Array:
            with jax.default_matmul_precision("highest"):
                return product(a, b, OF_TWO)

        return jax.jit(f).lower(a, b).as_text()

    for product in (products.float32, jax.lax.dot_general):
        assert "precision = [HIGHEST, HIGHEST]" in lowered(product)


def test_a_weight_gradient_of_one_example_is_no_product_to_be_written() -> None:
    a, b = (x.astype(jnp.float32) for x in operands(1))
    found = str(jax.make_jaxpr(jax.grad(curved(products.float32), argnums=1))(a, b))
    assert found.count("matrix_product") == 2
    lowered = jax.jit(jax.grad(curved(products.float32), argnums=1)).lower(a, b).as_text()
    assert lowered.count("dot_general") == 1  # that of the value


def test_other_products_are_left_to_jax() -> None:
    a, b = operands(4)
    transposed = (((1,), (1,)), ((), ()))
    assert_close(products.float32(a, b.T, transposed), a @ b)
    halves = (x.astype(jnp.bfloat16) for x in (a, b))
    wide = products.float32(*halves, OF_TWO, preferred_element_type=jnp.float32)
    assert wide.dtype == jnp.float32
    with pytest.raises(ValueError, match="dimension_numbers is .* must be a matrix times a matrix"):
        products.bfloat16(a, b.T, transposed)


@pytest.mark.parametrize("product", [products.float32, products.bfloat16, jax.lax.dot_general])
def test_their_operations_are_counted(product: Any) -> None:
    both = jax.grad(curved(product), argnums=(0, 1))
    for rows in (1, 4):
        assert product_flops(both, *operands(rows)) == 3 * 2 * rows * 3 * 2


def test_bfloat16_rounds_the_operands_of_every_product_and_nothing_else() -> None:
    rounded = lambda a: a.astype(jnp.bfloat16).astype(jnp.float32)  # noqa: E731
    a = jax.random.normal(jax.random.key(0), (5, 300))
    b = jax.random.normal(jax.random.key(1), (300, 7))
    weights = jax.random.normal(jax.random.key(2), (5, 7))

    def total(a: jax.Array, b: jax.Array) -> jax.Array:
        return (weights * products.bfloat16(a, b, OF_TWO)).sum()

    assert_close(products.bfloat16(a, b, OF_TWO), rounded(a) @ rounded(b))
    grad_a, grad_b = jax.grad(total, argnums=(0, 1))(a, b)
    assert_close(grad_a, rounded(weights) @ rounded(b).T)
    assert_close(grad_b, rounded(a).T @ rounded(weights))
    # The second derivative is of the gradient's own products.
    second = jax.grad(lambda a: (jax.grad(total, argnums=1)(a, b) * b).sum())(a)
    assert_close(second, rounded(weights) @ rounded(b).T)
