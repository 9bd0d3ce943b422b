"""Many runs in one compiled program: seeds, and points of a sweep, over all devices.

The runs are an axis of a device mesh. On CPU every device takes its runs one after the other: small products are
faster one by one than batched, and a run's numbers do not depend on the runs beside it. Of several CPU devices each
uses one core; a single one shares its products between all cores. On accelerators the runs of a device are batched with
vmap.

Dimensions: S runs, D devices.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lamaml_jax import checks

RunMapping: TypeAlias = Literal["one_by_one", "batched"]

_AXIS = "runs"


def run_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh over which runs are spread, of all devices by default.

    A CPU program compiled for one device differs in the last bits from the same for two, so take the same devices for
    one run as for many.
    """
    return Mesh(np.array(jax.devices() if devices is None else devices), (_AXIS,))


def over_runs(
    function: Callable[..., Any], mesh: Mesh, num_runs: int, *, mapping: RunMapping | None = None
) -> jax.stages.Wrapped:
    """Return a jitted `mapped(runs, shared)` that calls `function(*run, *shared)` for every run.

    Args:
        function: Of one run, pure.
        mesh: From `run_mesh`.
        num_runs: S.
        mapping: How a device maps its runs: "one_by_one", or "batched" with vmap, which rounds otherwise and computes
            its padding as well. None takes the former on CPU and the latter elsewhere.

    Returns:
        A function of a tuple `runs` of pytrees, mapped over their leading axis as `place` lays it out, and of a
        tuple `shared` of pytrees that all runs see whole. It returns the results stacked in the same way.

    Raises:
        ValueError: `mapping` is not one of its choices.
    """
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    if mapping is None:
        mapping = "one_by_one" if on_cpu else "batched"
    checks.choice("mapping", mapping, RunMapping)
    map_runs = {"one_by_one": _one_by_one, "batched": _batched}[mapping]

    def shard(runs: tuple[Any, ...], shared: tuple[Any, ...]) -> Any:
        per_device = len(jax.tree.leaves(runs)[0])
        here = jnp.clip(num_runs - jax.lax.axis_index(_AXIS) * per_device, 0, per_device)
        return map_runs(lambda run: function(*run, *shared), runs, here)

    split, whole = PartitionSpec(_AXIS), PartitionSpec()
    return jax.jit(
        jax.shard_map(shard, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False),
        compiler_options={"xla_cpu_multi_thread_eigen": mesh.size == 1} if on_cpu else None,
    )


def place(runs: chex.ArrayTree, mesh: Mesh) -> chex.ArrayTree:
    """Lay the runs `[S, ...]` out over the devices, padded with copies of the last to a multiple of D."""

    def put(a: Any) -> jax.Array:
        a = jnp.asarray(a)
        padding = -len(a) % mesh.size
        padded = jnp.concatenate([a, *[a[-1:]] * padding]) if padding else a
        return jax.device_put(padded, NamedSharding(mesh, PartitionSpec(_AXIS)))

    return jax.tree.map(put, runs)


def replicate(shared: chex.ArrayTree, mesh: Mesh) -> chex.ArrayTree:
    """Give every device the shared arrays; CPU devices share numpy arrays that are aligned to 64 bytes."""
    return jax.device_put(shared, NamedSharding(mesh, PartitionSpec()))


def collect(runs: chex.ArrayTree, num_runs: int) -> chex.ArrayTree:
    """Bring the runs to the host as numpy arrays `[S, ...]`, without the padding."""
    return jax.tree.map(lambda a: np.asarray(a)[:num_runs], runs)


def _batched(function: Callable[[Any], Any], runs: Any, count: jax.Array) -> Any:
    return jax.vmap(function)(runs)


def _one_by_one(function: Callable[[Any], Any], runs: Any, count: jax.Array) -> Any:
    # The barriers let one run be compiled as one of many is, so that it gives the same bits: they hide from the
    # compiler that its loop has one pass, and that a device's only run is the same in each.
    count = jax.lax.optimization_barrier(count)

    @functools.partial(jax.jit, inline=True)
    def run(i: jax.Array) -> Any:
        _, one = jax.lax.optimization_barrier((i, jax.tree.map(lambda a: a[i], runs)))
        return function(one)

    def store(i: jax.Array, results: Any) -> Any:
        return jax.tree.map(lambda all_, one: all_.at[i].set(one), results, run(i))

    per_device = len(jax.tree.leaves(runs)[0])
    # 0 is of the type of the loop's own number, so that what is traced here is not traced again there.
    results = jax.tree.map(
        lambda one: jnp.zeros((per_device, *one.shape), one.dtype), jax.eval_shape(run, 0)
    )
    return jax.lax.fori_loop(0, count, store, results)
