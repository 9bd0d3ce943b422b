"""Quick compilation and two CPU devices for all tests, double precision on request, images, small archives."""

import importlib.metadata
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import pytest
import tensorflow_datasets as tfds
from helpers import compiling_quickly, free_memory, set_url
from split_archives import Original, cifar_original, tiny_original

from experiments import presets
from lamaml_jax.datasets import (
    ImageDataset,
    cifar100,
    fashion_mnist,
    load_packaged_mnist,
    tiny_imagenet,
)
from lamaml_jax.datasets import mnist as full_mnist

# XLA's older code generator, where it still has it, compiles in a third of the time; an XLA that does not know a flag
# ends the process. Processes that tests start take it as well, but for those with `running.users_environment`; all keep
# programs that compile long in a folder of this process.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = " ".join(
        (
            os.environ.get("XLA_FLAGS", ""),
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
        )
    )
PROGRAMS = tempfile.TemporaryDirectory(prefix="lamaml_jax_", ignore_cleanup_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = PROGRAMS.name
jax.config.update("jax_compilation_cache_dir", PROGRAMS.name)
jax.config.update("jax_num_cpu_devices", 2)  # takes effect only before the backend starts
jax.config.update("jax_default_matmul_precision", "float32")  # accelerators would take fewer bits


@pytest.fixture(scope="module", autouse=True)
def free_programs() -> Iterator[None]:
    """Free what a module has compiled, which would fill gigabytes by the end."""
    yield
    free_memory()


@pytest.fixture
def freed() -> Iterator[None]:
    """Free what a test has compiled, where a module's together would fill more than a gigabyte."""
    yield
    free_memory()


@pytest.fixture
def x64() -> Iterator[None]:
    """Compute in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def quick_compile() -> Iterator[None]:
    """Leave out most of the compiler's optimisations: for programs that compile long and run once."""
    with compiling_quickly():
        yield


@pytest.fixture
def gathered(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Have results gathered in a file that has none yet."""
    path = tmp_path / "measured.csv"
    path.write_text(presets.MEASURED_RESULTS.read_text().partition("\n")[0] + "\n")
    monkeypatch.setattr(presets, "MEASURED_RESULTS", path)
    return path


@pytest.fixture(scope="session")
def mnist() -> ImageDataset:
    """The packaged subset: 10,000 training and 2,000 test images."""
    return load_packaged_mnist()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have downloads ask this machine, where nobody listens, and show no progress."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for module in (full_mnist, fashion_mnist, cifar100, tiny_imagenet):
        set_url(monkeypatch, module.Builder, "http://127.0.0.1:9/")
    tfds.disable_progress_bar()
    yield
    tfds.enable_progress_bar()


@pytest.fixture
def cifar() -> Original:
    return cifar_original()


@pytest.fixture
def tiny() -> Original:
    return tiny_original()


@pytest.fixture(params=["cifar", "tiny"])
def original(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)
