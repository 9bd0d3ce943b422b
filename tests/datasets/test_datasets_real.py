"""The real datasets: the packaged subset of MNIST, and whole ones where their archives are at hand."""

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamaml_jax.datasets import checksum, load, load_packaged_mnist
from lamaml_jax.datasets.packaged import build_mnist_subset


@pytest.fixture
def archives() -> Path:
    """A folder with the four gzipped archives of full MNIST."""
    folder = os.environ.get("LAMAML_DATA_DIR")
    if folder is None or not list(Path(folder).glob("*-ubyte.gz")):
        pytest.skip("LAMAML_DATA_DIR does not name a folder with the four archives of MNIST")
    return Path(folder).absolute()


def test_full_mnist(archives: Path, tmp_path: Path) -> None:
    (tmp_path / "manual").symlink_to(archives)
    mnist = load("mnist", tmp_path)
    assert mnist.train_images.shape == (60_000, 28, 28, 1)
    assert mnist.test_images.shape == (10_000, 28, 28, 1)
    train_counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test_counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(mnist.train_labels).tolist() == train_counts
    assert np.bincount(mnist.test_labels).tolist() == test_counts
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]  # in the order of the archives
    assert mnist.train_images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert checksum(load("mnist", tmp_path)) == checksum(mnist)


def _linked(name: str, data_dir: Path) -> None:
    """Link an archive of this name from the user's folder into `manual`."""
    folder = os.environ.get("LAMAML_DATA_DIR")
    if folder is None or not (archive := Path(folder).absolute() / name).is_file():
        pytest.skip(f"LAMAML_DATA_DIR does not name a folder with {name}")
    (data_dir / "manual").mkdir()
    (data_dir / "manual" / name).symlink_to(archive)


@pytest.mark.slow
def test_full_cifar100(tmp_path: Path) -> None:
    _linked("cifar-100-python.tar.gz", tmp_path)
    cifar = load("cifar100", tmp_path)
    assert cifar.train_images.shape == (50_000, 32, 32, 3)
    assert cifar.test_images.shape == (10_000, 32, 32, 3)
    assert np.bincount(cifar.train_labels).tolist() == [500] * 100
    assert np.bincount(cifar.test_labels).tolist() == [100] * 100
    assert cifar.superclasses is not None
    assert np.bincount(cifar.superclasses).tolist() == [5] * 20
    fruit = np.flatnonzero(cifar.superclasses == 4)  # apple, mushroom, orange, pear, sweet pepper
    assert fruit.tolist() == [0, 51, 53, 57, 83]
    means = cifar.train_images.mean(axis=(0, 1, 2)) / 255
    assert means == pytest.approx([0.5071, 0.4867, 0.4408], abs=2e-3)
    again = load("cifar100", tmp_path)
    assert checksum(again) == checksum(cifar)
    np.testing.assert_array_equal(again.superclasses, cifar.superclasses)


@pytest.mark.slow  # half a minute for a quarter of the original
def test_full_tiny_imagenet(tmp_path: Path) -> None:
    _linked("tiny-imagenet-200.zip", tmp_path)
    tiny = load("tiny_imagenet", tmp_path)
    for images, labels, at_least in (
        (tiny.train_images, tiny.train_labels, 100),
        (tiny.test_images, tiny.test_labels, 25),
    ):
        per_class = len(labels) // 200
        assert per_class >= at_least  # some copies of the archive hold a part of every class
        assert np.bincount(labels).tolist() == [per_class] * 200
        assert images.shape == (200 * per_class, 64, 64, 3)
        means = images.mean(axis=(0, 1, 2)) / 255
        assert means == pytest.approx([0.480, 0.448, 0.398], abs=0.01)
    assert tiny.superclasses is None
    assert checksum(load("tiny_imagenet", tmp_path)) == checksum(tiny)


def test_packaged_subset_is_typed_balanced_and_shuffled() -> None:
    subset = load_packaged_mnist()
    assert subset.name == "mnist_subset"
    assert subset.source == "packaged subset"
    assert subset.train_images.shape == (10_000, 28, 28, 1)
    assert subset.test_images.shape == (2_000, 28, 28, 1)
    assert subset.train_images.dtype == subset.test_images.dtype == np.uint8
    assert subset.train_labels.dtype == subset.test_labels.dtype == np.int32
    assert np.bincount(subset.train_labels).tolist() == [1_000] * 10
    assert np.bincount(subset.test_labels).tolist() == [200] * 10
    for labels in (subset.train_labels, subset.test_labels):
        assert len(set(labels[:100].tolist())) == 10  # not sorted by class
    assert subset.train_images.mean() / 255 == pytest.approx(0.1307, abs=0.002)


def test_packaged_subset_holds_distinct_images() -> None:
    subset = load_packaged_mnist()
    images = np.concatenate([subset.train_images, subset.test_images])
    assert len({image.tobytes() for image in images}) == 12_000


def test_build_script_makes_the_packaged_subset(archives: Path, tmp_path: Path) -> None:
    for archive in archives.glob("*-ubyte.gz"):
        (tmp_path / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
    build_mnist_subset.build(tmp_path, tmp_path / "first.npz")
    build_mnist_subset.build(tmp_path, tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    subset = load_packaged_mnist()
    with np.load(tmp_path / "first.npz") as built:  # another zlib may write other bytes
        np.testing.assert_array_equal(built["train_images"][..., None], subset.train_images)
        np.testing.assert_array_equal(built["train_labels"], subset.train_labels)
        np.testing.assert_array_equal(built["test_images"][..., None], subset.test_images)
        np.testing.assert_array_equal(built["test_labels"], subset.test_labels)


def test_build_script_refuses_other_files(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"other")
    found = hashlib.md5(b"other").hexdigest()
    with pytest.raises(SystemExit, match=f"train-images-idx3-ubyte: expected .*, found {found}"):
        build_mnist_subset.build(tmp_path, tmp_path / "subset.npz")


def test_checksum_depends_on_every_array_and_on_nothing_else() -> None:
    subset = load_packaged_mnist()
    known = checksum(subset)
    assert checksum(subset._replace(name="other", source="elsewhere")) == known
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        changed = getattr(subset, field).copy()
        changed.flat[-1] ^= 1
        assert checksum(subset._replace(**{field: changed})) != known
    reshaped = subset.train_images.reshape(10_000, 784, 1, 1)
    assert checksum(subset._replace(train_images=reshaped)) != known
    retyped: Any = subset.train_labels.view(np.uint32)
    assert checksum(subset._replace(train_labels=retyped)) != known
