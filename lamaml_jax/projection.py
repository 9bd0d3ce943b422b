"""Projections of a gradient onto what past tasks allow: GEM's quadratic programme and A-GEM's single constraint.

A gradient is an array or a pytree of arrays; the memory gradients have its structure with one more leading axis, that
of the tasks. Everything jits, scans and maps, and all shapes are static: tasks not yet seen are switched off by a mask.

Dimensions: T past tasks, D weights.
"""

from typing import TypeAlias

import chex
import jax
import jax.numpy as jnp
import optax

Gradient: TypeAlias = chex.ArrayTree
Scalar: TypeAlias = jax.Array | float

_MAX_PASSES = 1000
_BLOCK = 2048
_Carry: TypeAlias = tuple[jax.Array, ...]


def project_gem(
    gradient: Gradient,
    memory_gradients: Gradient,
    active: jax.Array,
    *,
    margin: Scalar,
    eps: Scalar,
) -> Gradient:
    """Turn a gradient until no past task's memory gradient opposes it (GEM, equation 11): g + G'v.

    Args:
        gradient: g, `[D]`.
        memory_gradients: G, `[T, D]`.
        active: bool `[T]`; rows of G that are not active never count and may hold any finite number.
        margin: Least entry of v, >= 0; what is above 0 favours the past tasks beyond the constraint.
        eps: Added to the diagonal of GG', > 0.

    Returns:
        g + G'v with v from `gem_multipliers`; g itself, bit for bit, where no active product g.g_k is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamaml_jax import project_gem
        >>> gradient, memory_gradients = jnp.array([1.0, 2.0]), jnp.array([[0.0, -1.0]])
        >>> project_gem(gradient, memory_gradients, jnp.array([True]), margin=0.0, eps=1e-9)
        Array([1., 0.], dtype=float32)

    Reference: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017.
    """
    v = gem_multipliers(gradient, memory_gradients, active, margin=margin, eps=eps)
    return _moved(gradient, memory_gradients, v)


def gem_multipliers(
    gradient: Gradient,
    memory_gradients: Gradient,
    active: jax.Array,
    *,
    margin: Scalar,
    eps: Scalar,
) -> jax.Array:
    """Solve GEM's dual: v = argmin 1/2 v'(GG' + eps I)v + (Gg)'v subject to v >= margin.

    Args:
        gradient: See `project_gem`, like all that follow.
        memory_gradients: See `project_gem`.
        active: See `project_gem`.
        margin: See `project_gem`.
        eps: See `project_gem`.

    Returns:
        v `[T]`: 0 where a task is not active, and everywhere if no active product g.g_k is negative.
    """
    scale = _largest(gradient)
    products = _products(memory_gradients, jax.tree.map(lambda g: g / scale, gradient))
    return jax.lax.cond(
        jnp.any(active & (products < 0)),
        lambda: _solve_dual(gradient, memory_gradients, active, products, margin, eps),
        lambda: jnp.zeros_like(products),
    )


def project_agem(gradient: Gradient, reference: Gradient) -> Gradient:
    """Turn a gradient until it does not oppose a reference (A-GEM, equation 11).

    g - (g.r / r.r) r if g.r < 0, and g itself, bit for bit, otherwise; so also if r = 0.

    Args:
        gradient: g, `[D]`.
        reference: r, `[D]`.

    Returns:
        The turned gradient, `[D]`.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamaml_jax import project_agem
        >>> project_agem(jnp.array([1.0, 2.0]), jnp.array([0.0, -3.0]))
        Array([1., 0.], dtype=float32)

    Reference: Chaudhry, Ranzato, Rohrbach and Elhoseiny, "Efficient Lifelong Learning with A-GEM", ICLR 2019.
    """
    # Both are brought to a largest entry of 1 first, as their squares may not be representable.
    scale, size = _largest(gradient), _largest(reference)
    direction = jax.tree.map(lambda r: r / size, reference)
    product = optax.tree.vdot(jax.tree.map(lambda g: g / scale, gradient), direction)
    share = scale * product / jnp.maximum(optax.tree.vdot(direction, direction), 1)
    return jax.tree.map(lambda g, r: jnp.where(product < 0, g - share * r, g), gradient, direction)


def _solve_dual(
    gradient: Gradient,
    memory_gradients: Gradient,
    active: jax.Array,
    products: jax.Array,
    margin: Scalar,
    eps: Scalar,
) -> jax.Array:
    """Solve the dual with GG' as computed, then correct v with what G and g themselves say of it.

    GG' squares the condition number of G, and its rounding errors can exceed eps. So it only preconditions: each pass
    forms the dual's gradient w = G(g + G'v) + eps v without it, and minimises 1/2 d'Qd + w'd over v + d >= margin for
    a Q that is GG' + eps I, shifted just enough to be safely positive definite. As Q then bounds the true matrix from
    above, every pass descends; where rows nearly cancel it takes many, which momentum that starts anew when it went
    too far (FISTA) makes fewer. All rows are scaled to a unit diagonal of Q. `products` is Gg over the largest entry
    of g.

    Reference: Beck and Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems", SIAM
    Journal on Imaging Sciences 2009; O'Donoghue and Candes, "Adaptive Restart for Accelerated Gradient Schemes",
    Foundations of Computational Mathematics 2015.
    """
    gram, size = _gram(memory_gradients)
    dtype = gram.dtype
    both = active[:, None] & active[None, :]
    hessian = jnp.where(both, gram, 0) + eps / size / size * jnp.eye(len(active), dtype=dtype)
    norms = jnp.sqrt(jnp.maximum(jnp.diag(hessian), jnp.finfo(dtype).tiny))
    hessian = _safely_definite(hessian / norms[:, None] / norms[None, :])
    norms = size * norms
    lower = jnp.where(active, margin, 0).astype(dtype)
    length = _largest(gradient)

    def improve(v: jax.Array, w: jax.Array, free: jax.Array) -> tuple[jax.Array, ...]:
        w = jnp.where(active, w, length)  # which keeps an inactive v at its bound, 0
        step, free = _box_qp(hessian, w, (lower - v) * norms, free)
        # The squared length by which G'v moves, relative to the largest entry of g.
        moved = -jnp.vdot(w / length, step / length)
        return jnp.maximum(v + step / norms, lower), free, moved

    def correct(carry: _Carry) -> _Carry:
        v, before, momentum, free, _, passes = carry
        next_momentum = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        ahead = jnp.maximum(v + (momentum - 1) / next_momentum * (v - before), lower)
        projected = _moved(gradient, memory_gradients, ahead)
        scale = _largest(projected)
        direction = jax.tree.map(lambda g: g / scale, projected)
        w = _products(memory_gradients, direction) / norms * scale + eps * ahead / norms
        new, free, moved = improve(ahead, w, free)
        went_too_far = jnp.vdot((ahead - new) * norms, _matmul(hessian, (new - v) * norms)) > 0
        next_momentum = jnp.where(went_too_far, 1, next_momentum)
        return new, v, next_momentum, free, moved, passes + 1

    def is_moving(carry: _Carry) -> jax.Array:
        *_, moved, passes = carry
        return (moved > (100 * jnp.finfo(dtype).eps) ** 2) & (passes < _MAX_PASSES)

    first = products / norms * length + _matmul(hessian, lower * norms)
    v, free, _ = improve(lower, first, jnp.zeros_like(active))
    one = jnp.ones((), dtype)
    start: _Carry = (
        v,
        v,
        one,
        free,
        jnp.inf * one,
        jnp.int32(1),
    )  # the first pass is never the last
    return jax.lax.while_loop(is_moving, correct, start)[0]


def _box_qp(
    hessian: jax.Array, linear: jax.Array, lower: jax.Array, free: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Minimise 1/2 d'Hd + b'd over d >= lower by a primal active-set method that starts at d = 0 >= lower.

    In each iteration d goes towards the minimiser over its free entries. If bounds block the way it stops at the
    first, which takes that entry's freedom; otherwise all entries whose gradient says so become free. The objective
    never rises, every iterate is feasible, and the number of iterations is bounded.

    Args:
        hessian: H `[T, T]`, positive definite.
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

    def minimiser(d: jax.Array, free: jax.Array) -> jax.Array:
        matrix = jnp.where(free[:, None] & free[None, :] | eye, hessian, 0)
        slope = linear + _matmul(hessian, d)
        # What is added to the diagonal, if anything, makes the step shorter and no less a step down.
        factor, _ = _cholesky(matrix)
        step = jax.scipy.linalg.cho_solve((factor, True), jnp.where(free, -slope, 0))
        return d + jnp.where(free, step, 0)

    def iterate(carry: _Carry) -> _Carry:
        d, free, _, iteration = carry
        target = minimiser(d, free)
        blocks = free & (target < lower)
        share = jnp.where(blocks, (d - lower) / (d - target), 1)
        is_hit = blocks & (share <= share.min())
        d = jnp.where(is_hit, lower, jnp.maximum(d + share.min() * (target - d), lower))
        d = jnp.where(blocks.any(), d, target)
        # A gradient counts only beyond its rounding error.
        slope = _matmul(hessian, d) + linear
        error = tolerance * (_matmul(magnitudes, jnp.abs(d)) + jnp.abs(linear))
        enters = ~free & (slope < -error) & ~blocks.any()
        return d, free & ~is_hit | enters, blocks.any() | enters.any(), iteration + 1

    def is_unsolved(carry: _Carry) -> jax.Array:
        return carry[2] & (carry[3] < 5 * size + 20)

    start: _Carry = (jnp.zeros_like(linear), free | (lower < 0), jnp.asarray(True), jnp.int32(0))
    d, free, _, _ = jax.lax.while_loop(is_unsolved, iterate, start)
    return d, free


def _safely_definite(matrix: jax.Array) -> jax.Array:
    """Add to a diagonal of ones 4 rounding errors, and twice what must be added besides for a factor to exist."""
    least = 4 * jnp.finfo(matrix.dtype).eps
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)
    _, shift = _cholesky(matrix + least * eye)
    return matrix + (least + 2 * shift) * eye


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


def _gram(memory_gradients: Gradient) -> tuple[jax.Array, jax.Array]:
    """Return GG' / c^2 and c, which is 1 unless the squares overflow."""

    def gram(rows: Gradient) -> jax.Array:
        return jnp.stack([_own_products(m) for m in _matrices(rows)]).sum(axis=0)

    def smaller() -> tuple[jax.Array, jax.Array]:
        c = _largest(memory_gradients)
        return gram(jax.tree.map(lambda m: m / c, memory_gradients)), c

    plain = gram(memory_gradients)
    is_finite = jnp.all(jnp.isfinite(plain))
    return jax.lax.cond(is_finite, lambda: (plain, jnp.ones((), plain.dtype)), smaller)


def _own_products(matrix: jax.Array) -> jax.Array:
    """Return MM' by blocks of columns that stay in the cache, on CPU 2.6 times faster than one product of long rows."""
    whole = matrix.shape[1] // _BLOCK

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        block = jax.lax.dynamic_slice_in_dim(matrix, i * _BLOCK, _BLOCK, axis=1)
        return total + _matmul(block, block.T)

    rest = matrix[:, whole * _BLOCK :]
    total = _matmul(rest, rest.T)
    return jax.lax.fori_loop(0, whole, add, total) if whole else total


def _products(memory_gradients: Gradient, gradient: Gradient) -> jax.Array:
    """Return Gg `[T]`."""
    pairs = zip(_matrices(memory_gradients), jax.tree.leaves(gradient), strict=True)
    return jnp.stack([_matmul(m, g.ravel()) for m, g in pairs]).sum(axis=0)


def _moved(gradient: Gradient, memory_gradients: Gradient, v: jax.Array) -> Gradient:
    """Return g + G'v."""
    return jax.tree.map(
        lambda g, m: g + _matmul(v, m.reshape(len(m), -1)).reshape(g.shape),
        gradient,
        memory_gradients,
    )


def _matrices(memory_gradients: Gradient) -> list[jax.Array]:
    return [m.reshape(len(m), -1) for m in jax.tree.leaves(memory_gradients)]


def _largest(tree: Gradient) -> jax.Array:
    """Return the largest magnitude in a pytree, or 1 if all is zero."""
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))
    return jnp.where(largest > 0, largest, 1)


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
