"""Package metadata; tool settings live in pyproject.toml, dependencies in requirements.txt."""

import pathlib

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent


def _requirements() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


setup(
    name="lamaml-jax",
    version="0.1.0",
    description="La-MAML: look-ahead meta-learning for continual learning, in pure JAX",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The lamaml_jax authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="continual-learning meta-learning jax flax",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    # experiments/ and benchmarks/ are scripts for the checkout and are not installed.
    packages=find_packages(include=["lamaml_jax", "lamaml_jax.*"]),
    package_data={
        "lamaml_jax": ["py.typed"],
        "lamaml_jax.datasets": ["packaged/*", "fashion_mnist/checksums.tsv"],
        "lamaml_jax.training": ["packaged/*.json", "packaged/*.npz"],
    },
    python_requires=">=3.11",
    install_requires=_requirements(),
    extras_require={
        # Formatting changes between minor versions of ruff, so its minor version is fixed.
        "dev": [
            "dm-haiku>=0.0.17",
            "equinox>=0.13.8",
            "hypothesis>=6.170.17",
            "ipython>=9.18.1",
            "mypy>=2.4.1",
            "pre-commit>=4.0",
            "pytest>=9.2.0",
            "pytest-xdist>=3.8.0",
            "ray>=2.60",
            "ruff~=0.17.6",
            "selenium>=4.51.0",
            "tensorboardX>=2.6.5",
        ],
        "docs": [
            "dm-haiku>=0.0.17",
            "equinox>=0.13.8",
            "myst-nb>=1.4.0",
            "sphinx>=9.0.4",
            "sphinx-book-theme>=1.4.0",
            "sphinx-design>=0.8.0",
        ],
        "cluster": ["ray>=2.60"],
        "fuzz": ["atheris>=3.0.0"],
        "tensorboard": ["tensorboardX>=2.6.5"],
        "cuda": ["jax[cuda13]>=0.10.2"],
        "tpu": ["jax[tpu]>=0.10.2"],
    },
)
