"""The way to a dataset by its name: prepared data, archives or a download, in this order."""

import importlib
import os
from pathlib import Path

from lamaml_jax.datasets.image_dataset import DatasetError, ImageDataset

# The package whose `Builder` makes each dataset; imported on demand, since tfds takes a while.
_NAMES = ("mnist", "fashion_mnist", "cifar100", "tiny_imagenet")
_BUILDERS = {name: f"lamaml_jax.datasets.{name}" for name in _NAMES}


def load(name: str, data_dir: str | os.PathLike[str] | None) -> ImageDataset:
    """Load a whole dataset from a folder, preparing it there on first use.

    Data that tfds has already prepared in `data_dir` is used as it is; otherwise it is prepared
    from archives in `<data_dir>/manual`; otherwise from a download. FashionMNIST's archives have
    the names of MNIST's, and a folder of their own: `<data_dir>/manual/fashion_mnist`. Images keep
    their prepared order, which for data prepared here is the order of the archives.

    Args:
        name: "mnist", "fashion_mnist", "cifar100" or "tiny_imagenet".
        data_dir: an existing folder for archives, downloads and prepared data.

    Returns:
        The dataset, `source` naming which of the three ways it came.

    Raises:
        ValueError: if the name is unknown.
        DatasetError: if the data cannot be had from this folder: it does not exist, an archive or
            the prepared data is incomplete or corrupt, or nothing is there and there is no network.
    """
    if name not in _BUILDERS:
        raise ValueError(f"name must be one of {sorted(_BUILDERS)}, got {name!r}")
    folder = _existing_folder(name, data_dir)
    from lamaml_jax.datasets import prepared  # not above: this imports tfds

    builder, source = prepared.prepare(importlib.import_module(_BUILDERS[name]).Builder, folder)
    return ImageDataset(name=name, source=source, **prepared.read(builder))


def _existing_folder(name: str, data_dir: str | os.PathLike[str] | None) -> Path:
    if data_dir is None:
        raise DatasetError(f"{name} needs a data_dir to be read from or downloaded into: name one")
    folder = Path(data_dir)
    if not folder.is_dir():
        archives = importlib.import_module(_BUILDERS[name]).Builder.ARCHIVES
        raise DatasetError(
            f"data_dir {str(folder)!r} is not an existing folder: create it, and put the archives "
            f"of {name} into {folder / archives.folder} unless they can be downloaded"
        )
    return folder
