"""Runs spread over devices: what each gives does not depend on the runs beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamaml_jax.parallel import collect, over_runs, place, replicate, run_mesh


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
