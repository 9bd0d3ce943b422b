"""Datasets on disk as tfds prepares them, read back as arrays without TensorFlow.

Decoding the pictures takes seconds, so the arrays are cached beside the prepared data.
Dimensions: N images, H height, W width, C colour channels.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds
from PIL import Image

from lamaml_jax.datasets import archives, cache
from lamaml_jax.datasets.image_dataset import DatasetError

_CHUNK = 1000  # records read at once: one by one takes four times as long
_MODES = {1: "L", 3: "RGB"}  # what Pillow calls C colour channels


def prepare(
    builder_cls: type[tfds.core.GeneratorBasedBuilder], data_dir: Path
) -> tuple[tfds.core.GeneratorBasedBuilder, str]:
    """Prepare a dataset in a folder unless it is there already.

    Args:
        builder_cls: a tfds builder that reads its `ARCHIVES` from their folder in `data_dir`, or
            downloads them if none is there.
        data_dir: an existing folder.

    Returns:
        The builder of the prepared dataset, and a phrase saying where the data came from.

    Raises:
        DatasetError: if the prepared data is incomplete, or the archives are, or they cannot be
            had, or the folder cannot be written.
    """
    folder = data_dir / builder_cls.name / str(builder_cls.VERSION)
    if folder.exists():
        return _open(builder_cls, data_dir, folder), f"prepared data in {folder}"
    wanted = builder_cls.ARCHIVES
    by_hand = archives.find(wanted, data_dir)
    source = f"archives in {data_dir / wanted.folder}" if by_hand else "download"
    try:
        # tfds announces a download on stdout even where there is none; its bars are on stderr.
        with contextlib.redirect_stdout(io.StringIO()):
            builder_cls(data_dir=data_dir).download_and_prepare(file_format="array_record")
    except OSError as error:
        # Of two processes preparing at once, the second cannot put its folder in place.
        if not folder.exists():
            raise DatasetError(f"nothing can be prepared in {data_dir}: {error}") from error
    return _open(builder_cls, data_dir, folder), source


def read(builder: tfds.core.GeneratorBasedBuilder) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a prepared dataset, from its cache if that is intact.

    Args:
        builder: the builder of a prepared dataset with the features `image` and `label`.

    Returns:
        `train_images` and `test_images` uint8 `[N, H, W, C]`; `train_labels` and `test_labels`
        int32 `[N]`; with a feature `coarse_label` also `superclasses` int32, one per class.

    Raises:
        DatasetError: if the prepared data is incomplete or corrupt.
    """
    folder = Path(builder.data_path)
    with _blaming(folder):
        splits = [builder.info.splits[split] for split in ("train", "test")]
        counts = [split.num_examples for split in splits]
        num_bytes = [split.num_bytes for split in splits]
        arrays = cache.read(folder / "decoded.npz", counts, num_bytes)
        if arrays is None:
            arrays = _decode(builder, "test") | _decode(builder, "train")
            cache.write(folder / "decoded.npz", arrays, num_bytes)
    return arrays


def _open(
    builder_cls: type[tfds.core.GeneratorBasedBuilder], data_dir: Path, folder: Path
) -> tfds.core.GeneratorBasedBuilder:
    with _blaming(folder):
        return builder_cls(data_dir=data_dir)


def _decode(builder: tfds.core.GeneratorBasedBuilder, split: str) -> dict[str, npt.NDArray[Any]]:
    shape = builder.info.features["image"].shape
    # Decoding by tfds takes twice as long, and warns if OpenCV is not installed.
    examples = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    images = np.empty((len(examples), *shape), np.uint8)
    labels = np.empty(len(examples), np.int32)
    classes = builder.info.features["label"].num_classes
    superclasses = np.full(classes, -1, np.int32)
    for start in range(0, len(examples), _CHUNK):
        chunk = list(range(start, min(start + _CHUNK, len(examples))))
        for index, example in zip(chunk, examples.__getitems__(chunk), strict=True):
            with Image.open(io.BytesIO(example["image"])) as picture:
                images[index] = np.asarray(picture.convert(_MODES[shape[-1]])).reshape(shape)
            labels[index] = example["label"]
            if "coarse_label" in example:
                superclasses[example["label"]] = example["coarse_label"]
    arrays = {f"{split}_images": images, f"{split}_labels": labels}
    return arrays | {"superclasses": superclasses} if superclasses.max() >= 0 else arrays


@contextlib.contextmanager
def _blaming(folder: Path) -> Iterator[None]:
    """Turn any failure to read prepared data, which has many types, into a DatasetError."""
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DatasetError(
            f"the prepared data in {folder} cannot be read ({reason}): "
            "delete that folder to prepare it anew, or name another data_dir"
        ) from error
