"""Small archives built as CIFAR-100's and TinyImageNet's are, with the datasets that they must be read back as."""

import functools
import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from lamaml_jax.datasets import DatasetError, ImageDataset, checksum, cifar100, load, tiny_imagenet

CIFAR, TINY = "cifar-100-python", "tiny-imagenet-200"
Members = dict[str, Any]
"""What an archive holds under each name: bytes, or what is pickled to bytes."""


class Original(NamedTuple):
    """A small archive built as the original is, and the dataset that it must be read back as."""

    builder: Any
    archive: str
    members: Members
    dataset: ImageDataset

    @property
    def prepared(self) -> Path:
        return Path(self.builder.name, str(self.builder.VERSION))

    def write(self, folder: Path, members: Members) -> Path:
        folder.mkdir(exist_ok=True)
        path = folder / self.archive
        (write_zip if self.archive.endswith(".zip") else write_tar)(path, members)
        return path


def write_tar(path: Path, members: Members) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, value in members.items():
            content = value if isinstance(value, bytes) else pickle.dumps(value, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path: Path, members: Members) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@functools.cache
def cifar_original() -> Original:
    """Two training images of every class, and test images of some."""
    rng = np.random.default_rng(0)
    superclasses = rng.permutation(np.arange(100, dtype=np.int32) % 20)
    members: Members = {f"{CIFAR}/meta": {b"fine_label_names": [b"apple"]}}
    arrays: dict[str, Any] = {}
    for split, labels in (("train", np.arange(200) % 100), ("test", np.arange(0, 60, 2))):
        labels = rng.permutation(labels).astype(np.int32)
        images = rng.integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
        members[f"{CIFAR}/{split}"] = {
            b"filenames": [b"%d.png" % number for number in range(len(labels))],
            b"batch_label": b"batch 1 of 1",
            b"fine_labels": labels.tolist(),
            b"coarse_labels": superclasses[labels].tolist(),
            b"data": np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(-1, 3072),
        }
    dataset = ImageDataset("cifar100", **arrays, source="made up", superclasses=superclasses)
    return Original(cifar100.Builder, f"{CIFAR}.tar.gz", members, dataset)


@functools.cache
def tiny_original() -> Original:
    """Two training images of every class, the very first one grey, and one test image."""
    rng = np.random.default_rng(0)
    wnids = [f"n{number:08d}" for number in np.sort(rng.choice(10**8, 200, replace=False))]
    train = [(f"{wnid}_{number}", wnid) for wnid in wnids for number in (2, 10)]
    test = [(f"val_{number}", wnid) for number, wnid in enumerate(rng.permutation(wnids))]
    members: Members = {
        f"{TINY}/train/{wnid}/images/{name}.JPEG": jpeg(rng) for name, wnid in train
    }
    members |= {f"{TINY}/val/images/{name}.JPEG": jpeg(rng) for name, _ in test}
    members[next(iter(members))] = jpeg(rng, channels=1)
    pictures = np.stack(
        [np.asarray(decode(content).convert("RGB")) for content in members.values()]
    )
    train_labels, test_labels = (
        np.asarray([wnids.index(wnid) for _, wnid in split], np.int32) for split in (train, test)
    )
    members |= {
        f"{TINY}/wnids.txt": "".join(f"{wnid}\n" for wnid in rng.permutation(wnids)),
        f"{TINY}/words.txt": "".join(f"{wnid}\tthing, object\n" for wnid in wnids),
        f"{TINY}/val/val_annotations.txt": "".join(
            f"{name}.JPEG\t{wnid}\t0\t32\t44\t62\n" for name, wnid in test
        ),
        f"{TINY}/train/{wnids[0]}/{wnids[0]}_boxes.txt": f"{wnids[0]}_2.JPEG\t0\t0\t9\t9\n",
        f"{TINY}/test/images/test_0.JPEG": jpeg(rng),
    }
    shuffled = {name: members[name] for name in rng.permutation(list(members)).tolist()}
    dataset = ImageDataset(
        "tiny_imagenet", pictures[:400], train_labels, pictures[400:], test_labels, "made up"
    )
    return Original(tiny_imagenet.Builder, f"{TINY}.zip", shuffled, dataset)


def jpeg(rng: np.random.Generator, channels: int = 3, side: int = 64) -> bytes:
    pixels = rng.integers(0, 256, (side, side, channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(file, "JPEG", quality=95)
    return file.getvalue()


def decode(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def assert_same(loaded: ImageDataset, expected: ImageDataset) -> None:
    assert loaded.name == expected.name
    assert checksum(loaded) == checksum(expected)
    if expected.superclasses is None:
        assert loaded.superclasses is None
    else:
        assert loaded.superclasses is not None and loaded.superclasses.dtype == np.int32
        np.testing.assert_array_equal(loaded.superclasses, expected.superclasses)


def assert_refused(original: Original, data_dir: Path, archive: Path, message: str) -> None:
    """Check that loading is refused with a sentence on `archive` that matches `message`, and leaves nothing."""
    with pytest.raises(DatasetError, match=f"^{archive}: {message}"):
        load(original.dataset.name, data_dir)
    assert not list((data_dir / original.builder.name).iterdir())
