"""Set JAX up for a script, before its backend starts."""

import gc
import os
import pathlib
from collections.abc import Sequence

import jax

_NEEDED = {
    "jax_transfer_guard": "allow",  # in all directions
    "jax_numpy_rank_promotion": "allow",
    "jax_numpy_dtype_promotion": "standard",
    "jax_disable_jit": False,
    "jax_debug_nans": False,  # a seed that diverges is a result
    "jax_debug_infs": False,
    "jax_debug_key_reuse": False,  # padding repeats a seed
}


def configure(
    benchmark: str = "mnist", num_seeds: int | None = None, devices: int | None = None
) -> None:
    """Make CPU cores devices, take products in full float32, and keep compiled programs for the next start.

    There are as many devices as seeds, if there are so many cores, as each holds the images; but no less than two, even
    on one core, as the bits of one differ. None makes all cores devices. A single run of a split benchmark gets one
    device of all cores instead: its products are large enough to be shared. `devices` says how many to take of all, on
    CPU more than there are cores as well; there one is taken as two, whose threads share what they find.
    What JAX's settings may forbid, the scripts do: they copy arrays to the host, and compute with shapes and types of
    different kinds; and they compile all that they run, whatever the environment says.
    The cache is where the environment variable JAX_COMPILATION_CACHE_DIR says, else in the user's cache folder; where
    nothing can be written there is none.

    Raises:
        ValueError: JAX finds no device of the kind that it is told to use, or fewer than are asked for.
    """
    cores = _num_cores() if devices is None else devices
    alone = benchmark.startswith("split") and num_seeds == 1
    most = max(2, cores if num_seeds is None else min(cores, num_seeds))
    jax.config.update("jax_num_cpu_devices", 1 if alone else most)
    if devices is not None:
        for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
            jax.config.update(name, ",".join(map(str, range(devices))))
    jax.config.update("jax_default_matmul_precision", "float32")
    for name, value in _NEEDED.items():
        jax.config.update(name, value)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (cache := _cache_folder()):
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    try:
        found = jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where it knows nothing of the kind
        wanted = os.environ.get("JAX_PLATFORMS", "")
        raise ValueError(f"JAX finds no device (JAX_PLATFORMS is {wanted!r}). {error}") from None
    if devices is not None:
        require(devices, found)


def free_programs() -> None:
    """Forget all compiled programs, which would fill the memory of a process that goes through many runs."""
    jax.clear_caches()
    gc.collect()


def require(devices: int, found: Sequence[jax.Device]) -> None:
    """Check that JAX has found as many accelerators as are asked for; CPU devices are made, however many.

    Raises:
        ValueError: There are others.
    """
    number, kind = len(found), found[0].device_kind
    if found[0].platform != "cpu" and number != devices:
        most = "at most " if number < devices else ""
        raise ValueError(
            f"devices is {devices}; it must be {most}{number}, as JAX has it ({kind})."
        )


def _num_cores() -> int:
    """Return the cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cache_folder() -> pathlib.Path | None:
    """Return a folder for compiled programs, made if it is not there, or None where there can be none."""
    try:
        # As the XDG specification asks, a relative path counts as none.
        given = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
        cache = (given if given.is_absolute() else pathlib.Path.home() / ".cache") / "lamaml_jax"
        cache.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: this user has no home
        return None
    return cache if os.access(cache, os.W_OK | os.X_OK) else None
