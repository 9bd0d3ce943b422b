"""A batch in pieces, each of which is a step's, and what stands in its padding.

Dimensions: B batch, K pieces.
"""

from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp

from lamaml_jax.losses import mean_over_valid
from lamaml_jax.types import Batch, Info, State


def split(batch: chex.ArrayTree, num_pieces: int) -> list[Any]:
    """Cut a batch of B rows, in order, into pieces of ceil(B / num_pieces) rows; the last may be shorter.

    Scalars in the batch go into every piece.
    """
    size = max(a.shape[0] for a in jax.tree.leaves(batch) if jnp.ndim(a) > 0)
    step = -(-size // num_pieces)
    return [
        jax.tree.map(lambda a, i=i: a[i : i + step] if jnp.ndim(a) > 0 else a, batch)
        for i in range(0, size, step)
    ]


def filled_up(batch: Batch, another: Batch) -> Batch:
    """Return a batch with another's first row in its padding.

    What is computed of padding counts nothing, but must be finite, as 0 times infinity is NaN: a loss of the stream's
    own, or a network, need not be at zeros.

    Args:
        batch: B examples.
        another: Any number of examples, of the same shapes; its first row counts as one, be it padding that was filled.
    """

    def fill(a: jax.Array, of: jax.Array) -> jax.Array:
        return jnp.where(batch.valid.reshape(-1, *[1] * (a.ndim - 1)), a, of[0])

    return batch._replace(
        x=fill(batch.x, another.x), y=fill(batch.y, another.y), task=fill(batch.task, another.task)
    )


def filled_pieces(pieces: Sequence[Batch]) -> jax.Array:
    """Return which of K pieces hold an example, bool `[K]`."""
    return jnp.stack([piece.valid.any() for piece in pieces])


def scan_pieces(
    step: Callable[[chex.PRNGKey, State, Batch], tuple[State, Info]],
    key: chex.PRNGKey,
    state: State,
    batch: Batch,
    size: int,
) -> tuple[State, Info]:
    """Run `step(key, state, piece) -> (state, info)` over a batch in order, `size` examples at a time.

    Args:
        step: What to do with one piece.
        key: Split over the pieces.
        state: Carried from piece to piece.
        batch: B examples, B a multiple of `size`.
        size: Examples per piece.

    Returns:
        The last state, and the mean of the infos over the pieces that have a valid example.
    """
    num_pieces = batch.y.shape[0] // size
    pieces = tuple(a.reshape(num_pieces, size, *a.shape[1:]) for a in batch[:4])

    def body(
        state: State, inputs: tuple[chex.PRNGKey, tuple[jax.Array, ...]]
    ) -> tuple[State, Info]:
        key, (x, y, task, valid) = inputs
        return step(key, state, batch._replace(x=x, y=y, task=task, valid=valid))

    state, infos = jax.lax.scan(body, state, (jax.random.split(key, num_pieces), pieces))
    has_examples = batch.valid.reshape(num_pieces, size).any(axis=1)
    return state, jax.tree.map(lambda info: mean_over_valid(info, has_examples), infos)
