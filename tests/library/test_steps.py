"""What single steps are made of, by hand: clipping, SGD, and batches cut into pieces."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, make_batch

from lamaml_jax import split
from lamaml_jax.pieces import scan_pieces
from lamaml_jax.updates import clip_by_global_norm, sgd_step


def test_gradients_are_scaled_to_a_global_norm() -> None:
    grads = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    clipped, norm = clip_by_global_norm(grads, 2.5)
    assert float(norm) == 5
    assert_close(clipped, {"a": jnp.array([1.5, 0.0]), "b": jnp.array([[2.0]])}, 1e-6)
    for bound in (7.0, None):
        kept, norm = clip_by_global_norm(grads, bound)
        assert float(norm) == 5
        assert_same_bits(kept, grads)


def test_clipping_divides_by_the_norm_and_a_millionth(x64: None) -> None:
    clipped, _ = clip_by_global_norm(jnp.array([3.0, 4.0]), 2.5)
    assert_close(clipped, np.array([3.0, 4.0]) * 2.5 / (5 + 1e-6), 1e-14)


def test_an_sgd_step_by_hand() -> None:
    step, info = sgd_step(jnp.vdot, jnp.array([1.0, 1.0]), jnp.array([3.0, 4.0]), 0.1)
    assert_close(step, [0.7, 0.6])
    assert_close(info, {"loss": 7.0, "gradient_norm": 5.0})
    step, info = sgd_step(
        jnp.vdot, jnp.array([1.0, 1.0]), jnp.array([3.0, 4.0]), 0.1, clip_norm=2.5
    )
    assert_close(step, [0.85, 0.8])
    assert_close(info["gradient_norm"], 5.0)


@pytest.mark.parametrize(
    ("num_pieces", "sizes"), [(1, [10]), (3, [4, 4, 2]), (5, [2] * 5), (10, [1] * 10)]
)
def test_a_batch_is_cut_in_order_into_pieces(num_pieces: int, sizes: list[int]) -> None:
    batch = {"x": jnp.arange(20.0).reshape(10, 2), "y": jnp.arange(10), "scalar": jnp.array(7)}
    pieces = split(batch, num_pieces)
    assert [len(piece["x"]) for piece in pieces] == sizes
    for name in ("x", "y"):
        assert_same_bits(jnp.concatenate([piece[name] for piece in pieces]), batch[name])
    assert [int(piece["scalar"]) for piece in pieces] == [7] * len(sizes)


def test_pieces_are_scanned_in_order_with_a_key_each() -> None:
    batch = make_batch(0)

    def step(key: chex.PRNGKey, state: jax.Array, piece: Any) -> tuple[jax.Array, dict[str, Any]]:
        assert piece.x.shape == (2, 12)
        draw = jax.random.uniform(key)
        return 2 * state + piece.x.sum(), {"sum": piece.x.sum(), "draw": draw}

    state, info = scan_pieces(step, jax.random.key(0), jnp.float32(1), batch, 2)
    by_hand = 1.0
    for start in range(0, 10, 2):
        by_hand = 2 * by_hand + float(batch.x[start : start + 2].sum())
    assert_close(state, by_hand, 1e-4)
    assert_close(info["sum"], batch.x.sum() / 5, 1e-4)
    keys = jax.random.split(jax.random.key(0), 5)
    assert_close(info["draw"], jax.vmap(jax.random.uniform)(keys).mean())
