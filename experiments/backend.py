"""Set JAX up for a script, before its backend starts."""

import os
import pathlib

import jax


def configure(benchmark: str = "mnist", num_seeds: int | None = None) -> None:
    """Make CPU cores devices, take products in full float32, and keep compiled programs for the next start.

    There are as many devices as seeds, if there are so many cores, as each holds the images; but no less than two, as
    the bits of one differ. None makes all cores devices. A single run of a split benchmark gets one device of all cores
    instead: its products are large enough to be shared.
    The cache is where the environment variable JAX_COMPILATION_CACHE_DIR says, else in the user's cache folder.
    """
    cores = _num_cores()
    devices = cores if num_seeds is None else min(cores, max(2, num_seeds))
    alone = benchmark.startswith("split") and num_seeds == 1
    jax.config.update("jax_num_cpu_devices", 1 if alone else devices)
    jax.config.update("jax_default_matmul_precision", "float32")
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
        jax.config.update("jax_compilation_cache_dir", str(cache / "lamaml_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _num_cores() -> int:
    """Return the cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
