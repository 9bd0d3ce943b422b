"""Bases of the spaces that hold a layer's inputs, and the parts of a gradient inside and outside of them.

The gradient of a layer's kernel is a sum of (input) x (error). A step that leaves out what lies in the space of old
inputs leaves the layer's old outputs as they were.

Dimensions: N rows, D inputs of a layer, U its units, k directions.

Reference: Saha, Garg and Roy, "Gradient Projection Memory for Continual Learning", ICLR 2021.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from lamaml_jax import checks
from lamaml_jax.types import Model, Params, Setting

Bases: TypeAlias = tuple[jax.Array, ...]
"""V of every layer, `[D, k]`: orthogonal columns no longer than 1, of zeros where fewer than k directions are kept."""
Weights: TypeAlias = tuple[jax.Array, ...]
"""Lambda of every layer, `[k]`; empty where all are 1."""


def layers_of(
    model: Model, setting: Setting, what: str
) -> tuple[tuple[str, ...], Callable[[Params, jax.Array], tuple[jax.Array, ...]]]:
    """Return the kernels that may have a basis, and `inputs_of(params, x)`, what their layers get, `[N, D]` each.

    Where tasks have heads of their own, the last kernel is theirs, and needs none.

    Args:
        model: A network with `kernels` and `layer_inputs`.
        setting: The stream's static facts.
        what: Who asks for them.

    Raises:
        ValueError: The model does not offer its layers' inputs, or names no kernels.
    """
    layer_inputs = model.layer_inputs
    if layer_inputs is None:
        raise checks.UnfitModel(
            f"model has no layer inputs; it must have kernels and layer_inputs for {what}."
        )
    if not model.kernels:
        allowed = f"one path of a parameter for each of its layer_inputs for {what}"
        raise checks.UnfitModel(
            f"kernels of the model is {model.kernels!r}; it must hold {allowed}."
        )
    kernels = tuple(model.kernels if setting.class_mask.all() else model.kernels[:-1])

    def inputs_of(params: Params, x: jax.Array) -> tuple[jax.Array, ...]:
        dtype = jax.tree.leaves(params)[0].dtype  # which a step must keep
        inputs = tuple(layer_inputs(params, x))
        if len(inputs) not in (len(kernels), len(model.kernels)):  # heads' inputs are not read
            raise checks.Refusal(
                f"layer_inputs of the model returns {len(inputs)} arrays; it must return one for each of its "
                f"{len(model.kernels)} kernels."
            )
        return tuple(rows.astype(dtype) for rows in inputs[: len(kernels)])

    return kernels, inputs_of


def init(params: Params, kernels: Sequence[str], inputs: Sequence[Any]) -> Bases:
    """Return bases without a direction, for layers with `inputs` of shapes `[N, D]`.

    Raises:
        ValueError: A kernel is not among the parameters, or does not take its layer's inputs.
    """
    sizes = {_name(path): leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for name, rows in zip(kernels, inputs, strict=True):
        if name not in sizes:
            allowed = f"paths of parameters, such as {next(iter(sizes))!r}"
            raise checks.Refusal(f"kernels of the model has {name!r}; it must hold {allowed}.")
        if sizes[name] % rows.shape[1]:
            allowed = f"a divisor of the {sizes[name]} numbers of {name!r}"
            raise checks.Refusal(
                f"layer_inputs of the model has rows of {rows.shape[1]}; it must be {allowed}."
            )
    return tuple(jnp.zeros((rows.shape[1], min(rows.shape)), rows.dtype) for rows in inputs)


def principal_directions(rows: jax.Array, share: jax.Array | float) -> jax.Array:
    """Return the fewest principal directions that hold a share of the rows' squared length, not centred.

    Args:
        rows: X, `[N, D]`; rows of zeros count for nothing.
        share: In (0, 1].

    Returns:
        V `[D, min(N, D)]`, whose columns beyond those directions are zero; all are if all rows are.
    """
    vectors, energies = _directions(rows)
    held_before = jnp.cumsum(energies) - energies
    return jnp.where(held_before < share * energies.sum(), vectors, 0).astype(rows.dtype)


def ridge_directions(rows: jax.Array, softness: jax.Array | float, most: int) -> jax.Array:
    """Return the principal directions, each as long as the rows have energy along it, not centred.

    A direction v_i of energy e_i, the rows' squared length along it, has the squared length e_i / (e_i + softness e_1),
    so that V V' = X'X (X'X + softness e_1 I)^-1, the rows' ridge regression on themselves.

    Args:
        rows: X, `[N, D]`; rows of zeros count for nothing.
        softness: What energy, as a share of the largest, e_1, counts for one half; positive.
        most: The directions kept, those of most energy; at most min(N, D).

    Returns:
        V `[D, most]`, in the order of the energies; zeros if all rows are.
    """
    vectors, energies = _directions(rows)
    half = jnp.asarray(softness, energies.dtype) * energies[0]
    # Without any energy all lengths are zero, as they should be.
    total = jnp.maximum(energies + half, jnp.finfo(energies.dtype).tiny)
    return (vectors * jnp.sqrt(energies / total))[:, :most].astype(rows.dtype)


def inside(grads: Params, kernels: Sequence[str], bases: Bases, weights: Weights) -> Params:
    """Return a gradient with P G, the part of each kernel's gradient G in the weighted basis, in its place.

    P = V diag(lambda) V'. What is no kernel, or has no basis, stays whole.

    Args:
        grads: The gradient.
        kernels: Paths of the kernels that have a basis.
        bases: V of each.
        weights: Lambda of each, or empty.
    """
    return _at_kernels(_projected, grads, kernels, bases, weights)


def outside(grads: Params, kernels: Sequence[str], bases: Bases, weights: Weights) -> Params:
    """Return a gradient with G - P G in the place of each kernel's; see `inside`."""
    return _at_kernels(lambda g, *basis: g - _projected(g, *basis), grads, kernels, bases, weights)


def without_padding(rows: jax.Array, valid: jax.Array) -> jax.Array:
    """Return `rows [N, D]`, as many for each example, with zeros where the example is not `valid`."""
    of_examples = rows.reshape(len(valid), -1, rows.shape[1])
    return jnp.where(valid[:, None, None], of_examples, 0).reshape(rows.shape)


def used(bases: Bases, weights: Weights) -> jax.Array:
    """Return the share of a layer's input directions that its basis holds, by weight; the mean over layers."""
    if not bases:
        return jnp.zeros(())
    norms = [(v**2).sum(axis=0) for v in bases]
    held = [n @ w for n, w in zip(norms, weights, strict=True)] if weights else map(jnp.sum, norms)
    return jnp.stack([h / len(v) for h, v in zip(held, bases, strict=True)]).mean()


def _directions(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the principal directions `[D, min(N, D)]` of rows, and the energy along each, the highest first.

    Both are in float32 at least: there is no decomposition in fewer bits.
    """
    rows = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    if rows.shape[0] <= rows.shape[1]:
        _, values, transposed = jnp.linalg.svd(rows, full_matrices=False)
        return transposed.T, values**2
    # Far fewer columns than rows: of a convolution there is one for every place in every image.
    ascending, vectors = jnp.linalg.eigh(rows.T @ rows)
    return vectors[:, ::-1], jnp.maximum(ascending[::-1], 0)


def _projected(gradient: jax.Array, vectors: jax.Array, *weight: jax.Array) -> jax.Array:
    inner = vectors.T @ gradient
    for w in weight:
        inner = w[:, None] * inner
    return vectors @ inner


def _at_kernels(
    function: Callable[..., jax.Array],
    grads: Params,
    kernels: Sequence[str],
    bases: Bases,
    weights: Weights,
) -> Params:
    of_kernels = dict(zip(kernels, zip(*filter(None, (bases, weights)), strict=True), strict=True))

    def at(path: Any, leaf: jax.Array) -> jax.Array:
        basis = of_kernels.get(_name(path))
        if basis is None:
            return leaf
        return function(leaf.reshape(basis[0].shape[0], -1), *basis).reshape(leaf.shape)

    return jax.tree_util.tree_map_with_path(at, grads)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
