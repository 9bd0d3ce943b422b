"""Runs spread over devices: what each gives does not depend on the runs beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamaml_jax.parallel import RunMapping, collect, over_runs, place, replicate, run_mesh


@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_run_alone_gives_the_bits_it_gives_beside_others(num_devices: int) -> None:
    """The compiler rounds the product where all runs share it, not where it joins it with the sum."""

    def function(own: jax.Array, shared: jax.Array) -> jax.Array:
        return shared * shared + own

    mesh = run_mesh(jax.devices()[:num_devices])
    rng = np.random.default_rng(0)
    runs, shared = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 257), 257))

    def values(num_runs: int) -> np.ndarray:
        mapped = over_runs(function, mesh, num_runs, mapping="one_by_one")
        placed = place((jnp.asarray(runs[:num_runs]),), mesh)
        return collect(mapped(placed, (replicate(shared, mesh),)), num_runs)

    alone = values(1)
    for num_runs in (2, 4):
        np.testing.assert_array_equal(alone, values(num_runs)[:1])


@pytest.mark.parametrize("mapping", ["one_by_one", "batched"])
def test_runs_that_do_not_fill_the_devices_are_each_their_own(mapping: RunMapping) -> None:
    mesh, keys = run_mesh(), jax.random.split(jax.random.key(0), 3)
    rows, weights = np.arange(12, dtype=np.float32).reshape(3, 4), np.ones((4, 2), np.float32)

    def function(key: jax.Array, row: jax.Array, weights: jax.Array) -> dict[str, jax.Array]:
        return {"product": row @ weights, "draw": jax.random.bits(key)}

    mapped = over_runs(function, mesh, 3, mapping=mapping)
    found = collect(mapped(place((keys, rows), mesh), (replicate(weights, mesh),)), 3)
    np.testing.assert_array_equal(found["product"], rows @ weights)
    np.testing.assert_array_equal(found["draw"], [jax.random.bits(key) for key in keys])
