"""What a run is: everything that determines its results, to the last bit.

The settings and data say which run it is. To go on with one that was interrupted, the programs that compute it must be
the same as well; a finished one may be looked at with others.
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax
import jax

import lamaml_jax
from experiments.runs import catalogue
from experiments.runs.config import Config
from lamaml_jax.datasets import ImageDataset, checksum
from lamaml_jax.training import fingerprints

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "tensorflow-datasets")

# Those settings of JAX that change numbers and that the scripts leave to the user (see `backend`): what is drawn, in
# which precision, and how it is compiled.
_JAX_SETTINGS = (
    *("jax_default_prng_impl", "jax_threefry_partitionable", "jax_random_seed_offset"),
    *("jax_high_dynamic_range_gumbel", "jax_threefry_gpu_kernel_lowering"),
    *("jax_enable_x64", "jax_explicit_x64_dtypes"),
    *("jax_default_matmul_precision", "jax_allow_f16_reductions"),
    *("jax_disable_most_optimizations", "jax_optimization_level"),
    *("jax_exec_time_optimization_effort", "jax_compiler_enable_remat_pass"),
    *("jax_use_direct_linearize", "jax_softmax_custom_jvp", "jax_enable_pgle"),
)
_FLAX_SETTINGS = ("flax_fix_rng_separator", "flax_preserve_adopted_names")
_COMPILER_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
_HARMLESS_FLAGS = ("--xla_dump", "--xla_force_host_platform_device_count")


def describe(config: Config, dataset: ImageDataset | None) -> dict[str, Any]:
    """Return what config.json holds."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    description = {
        "settings": settings(config),
        "data": _data(config, dataset),
        "files": catalogue.sources((config.benchmark, config.learner, config.architecture)),
        "numerics": {
            **{name: jax.config.values.get(name) for name in _JAX_SETTINGS},
            **{name: getattr(flax.config, name, None) for name in _FLAX_SETTINGS},
        },
        "versions": {
            "lamaml_jax": lamaml_jax.__version__,
            "python": platform.python_version(),
            **versions,
        },
        "device": _devices(jax.devices()),
        "flags": {name: _flags(os.environ[name]) for name in _COMPILER_FLAGS if name in os.environ},
    }
    return json.loads(json.dumps(description, default=str))  # as it is read again


def settings(config: Config) -> dict[str, Any]:
    """Return a configuration as config.json has it."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def _data(config: Config, dataset: ImageDataset | None) -> dict[str, str]:
    if dataset is not None:
        return {"name": dataset.name, "source": dataset.source, "sha256": checksum(dataset)}
    digest = fingerprints.of_examples(config.make_benchmark(None))
    return {"name": config.name_of(None), "source": config.benchmark, "sha256": digest}


def is_described(found: Any) -> bool:
    """Return whether this is what `describe` returned for some run."""
    parts = ("settings", "data", "versions")
    described = isinstance(found, dict) and all(isinstance(found.get(p), dict) for p in parts)
    return described and "lamaml_jax" in found["versions"]


def differences(
    found: Mapping[str, Any], wanted: Mapping[str, Any], *, finished: bool
) -> list[str]:
    """Name what differs of two runs' descriptions, with both values.

    Args:
        found: Of the run in a work directory.
        wanted: Of the run asked for.
        finished: Whether the run's results are only to be shown, and not to be gone on with.
    """
    names: list[str] = []
    for part in ("settings", "files", "numerics"):
        names += _in_words(found.get(part, {}), wanted[part])
    if found["data"].get("sha256") != wanted["data"]["sha256"]:
        names.append("data")
    if not finished:
        for part in ("versions", "device", "flags"):
            names += _in_words(found.get(part), wanted[part], part)
    return names


def differing(found: Any, wanted: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the name of each value that differs between two descriptions, or parts of them, and both in short."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*wanted, *found]):
            yield from differing(
                found.get(key), wanted.get(key), f"{name}.{key}" if name else str(key)
            )
    elif found != wanted:
        yield name, _short(str(found)), _short(str(wanted))


def _short(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:60]} ..."


def _in_words(found: Any, wanted: Any, name: str = "") -> list[str]:
    return [f"{key} ({was}, now {now})" for key, was, now in differing(found, wanted, name)]


def _devices(devices: Sequence[jax.Device]) -> str:
    """Return what a run's bits depend on: of CPU devices, whether there are several, on others how many there are."""
    first, count = devices[0], str(len(devices))
    if first.platform == "cpu" and len(devices) > 1:
        count = "several"
    return f"{count} x {first.device_kind}, {first.client.platform_version}"


def has_one_device(description: Mapping[str, Any]) -> bool:
    """Return whether a run is described as being of a single device, whose bits are not those of several."""
    return str(description.get("device")).startswith("1 x ")


def _flags(text: str) -> str:
    """Return the compiler's flags in one order, without those that change no numbers."""
    return " ".join(flag for flag in sorted(text.split()) if not flag.startswith(_HARMLESS_FLAGS))
