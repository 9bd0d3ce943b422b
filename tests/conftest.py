"""Two CPU devices for all tests, double precision on request, and the packaged images."""

from collections.abc import Iterator

import jax
import pytest
from helpers import compiling_quickly

from lamaml_jax.datasets import ImageDataset, load_packaged_mnist

jax.config.update("jax_num_cpu_devices", 2)  # takes effect only before the backend starts
jax.config.update("jax_default_matmul_precision", "float32")  # accelerators would take fewer bits


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


@pytest.fixture(scope="session")
def mnist() -> ImageDataset:
    """The packaged subset: 10,000 training and 2,000 test images."""
    return load_packaged_mnist()
