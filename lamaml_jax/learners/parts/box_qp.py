"""Quadratic programmes with lower bounds, small and dense, by a method that jits and maps: of GEM's dual.

Dimensions: T variables.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp

_Carry: TypeAlias = tuple[jax.Array, ...]


def box_qp(
    hessian: jax.Array, linear: jax.Array, lower: jax.Array, free: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Minimise 1/2 d'Hd + b'd over d >= lower by a primal active-set method that starts at d = 0 >= lower.

    In each iteration d goes towards the minimiser over its free entries. If bounds block the way it stops at the
    first, which takes that entry's freedom; otherwise all entries whose gradient says so become free. The objective
    never rises, every iterate is feasible, and the number of iterations is bounded.

    Args:
        hessian: H `[T, T]`, positive definite, with a diagonal near 1.
        linear: b `[T]`.
        lower: `[T]`, none positive.
        free: bool `[T]`, a guess of the entries off their bounds.

    Returns:
        d, and which of its entries are free.
    """
    size = len(linear)
    eye = jnp.eye(size, dtype=bool)
    magnitudes = jnp.abs(hessian)
    tolerance = 4 * jnp.finfo(linear.dtype).eps

    def minimiser(d: jax.Array, slope: jax.Array, free: jax.Array) -> jax.Array:
        matrix = jnp.where(free[:, None] & free[None, :] | eye, hessian, 0)
        # What is added to the diagonal, if anything, makes the step shorter and no less a step down.
        factor, _ = _cholesky(matrix)
        step = jax.scipy.linalg.cho_solve((factor, True), jnp.where(free, -slope, 0))
        return d + jnp.where(free, step, 0)

    def iterate(carry: _Carry) -> _Carry:
        d, slope, free, _, iteration = carry
        target = minimiser(d, slope, free)
        blocks = free & (target < lower)
        share = jnp.where(blocks, (d - lower) / (d - target), 1)
        is_hit = blocks & (share <= share.min())
        d = jnp.where(is_hit, lower, jnp.maximum(d + share.min() * (target - d), lower))
        d = jnp.where(blocks.any(), d, target)
        # A gradient counts only beyond its rounding error.
        slope = matmul(hessian, d) + linear
        error = tolerance * (matmul(magnitudes, jnp.abs(d)) + jnp.abs(linear))
        enters = ~free & (slope < -error) & ~blocks.any()
        return d, slope, free & ~is_hit | enters, blocks.any() | enters.any(), iteration + 1

    def is_unsolved(carry: _Carry) -> jax.Array:
        *_, is_going_on, iteration = carry
        return is_going_on & (iteration < 5 * size + 20)

    nothing = jnp.zeros_like(linear)  # of which `linear` is the slope
    start: _Carry = (nothing, linear, free | (lower < 0), jnp.asarray(True), jnp.int32(0))
    d, _, free, _, _ = jax.lax.while_loop(is_unsolved, iterate, start)
    return d, free


def safely_definite(matrix: jax.Array) -> jax.Array:
    """Add to a diagonal of ones twice the least shift, of 4 rounding errors and more, that gives a factor."""
    least = 4 * jnp.finfo(matrix.dtype).eps
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)
    _, shift = _cholesky(matrix + least * eye)
    return matrix + 2 * (least + shift) * eye


def _cholesky(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a factor of a matrix with a diagonal of ones, and the least shift of the diagonal that gives one.

    Tried are none, and 4 rounding errors times a power of 4.
    """
    least = jnp.asarray(4 * jnp.finfo(matrix.dtype).eps, matrix.dtype)
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)

    def is_indefinite(carry: _Carry) -> jax.Array:
        factor, shift = carry
        return ~jnp.all(jnp.isfinite(factor)) & (shift < 1)

    def shift_more(carry: _Carry) -> _Carry:
        shift = jnp.maximum(4 * carry[1], least)
        return jnp.linalg.cholesky(matrix + shift * eye), shift

    start: _Carry = (jnp.linalg.cholesky(matrix), jnp.zeros_like(least))
    factor, shift = jax.lax.while_loop(is_indefinite, shift_more, start)
    return factor, shift


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return a @ b in full precision, which accelerators do not take by themselves."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
