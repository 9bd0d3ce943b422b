"""Scripts in this process, and in one of its own as users start it."""

import contextlib
import os
import pathlib
import types
from collections.abc import Iterator
from typing import Any

import jax
import pytest
from absl import flags
from absl.testing import flagsaver
from helpers import compiling_quickly

from experiments import train
from lamaml_jax import checkpoint


def users_environment() -> dict[str, str]:
    """Return the environment without what makes tests compile quickly: for bits as users get them."""
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}


def quick_environment() -> dict[str, str]:
    """Return the environment in which most of the compiler's optimisations are left out."""
    return {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def run_train(*arguments: str) -> None:
    """Run the training script with these flags, which leave no trace."""
    run_script(train, *arguments)


def run_script(script: types.ModuleType, *arguments: str) -> None:
    """Run a script with these flags, which leave no trace; most runs share their programs with another."""
    with flagsaver.flagsaver(), compiling_quickly(), keeping_programs():
        flags.FLAGS.unparse_flags()
        script.main(flags.FLAGS([script.__name__, *arguments]))


class Stopped(Exception):
    """A run was ended from without."""


def stop_after(task: int, monkeypatch: pytest.MonkeyPatch, *, inside: bool = False) -> None:
    """End the process, as it were, just after the state after some task, or first inside the next, is on disk."""
    save = checkpoint.save

    def save_and_stop(directory: pathlib.Path, place: checkpoint.Place, tree: Any) -> None:
        save(directory, place, tree)
        if place.stage == task and bool(place.batches) == inside:
            raise Stopped

    monkeypatch.setattr(checkpoint, "save", save_and_stop)


@contextlib.contextmanager
def keeping_programs() -> Iterator[None]:
    """Keep what is compiled in the block, so that what is traced anew is not compiled anew."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = jax.config.values[name]
    jax.config.update(name, 0.1)
    try:
        yield
    finally:
        jax.config.update(name, before)
