"""FashionMNIST: files of MNIST's names, which are never taken for it, nor it for MNIST."""

import shutil
from pathlib import Path

import pytest
from helpers import served
from idx_archives import NAMES, noise, write_archives
from tensorflow_datasets.image_classification.mnist import FashionMNIST

from lamaml_jax.datasets import DatasetError, ImageDataset, checksum, load
from lamaml_jax.datasets.fashion_mnist import Builder

URL = Builder.ARCHIVES.url  # before a test may replace it
PREPARED = Path("fashion_mnist", "3.0.1")

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module")
def fashion() -> ImageDataset:
    return noise("fashion_mnist", seed=1)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_its_archives_and_mnists_lie_side_by_side(
    tmp_path: Path, fashion: ImageDataset, suffix: str
) -> None:
    digits = noise("mnist")
    write_archives(tmp_path / "manual", digits, ".gz")
    write_archives(tmp_path / "manual" / "fashion_mnist", fashion, suffix)
    loaded = load("fashion_mnist", tmp_path)
    assert loaded.name == "fashion_mnist"
    assert loaded.source == f"archives in {tmp_path / 'manual' / 'fashion_mnist'}"
    assert checksum(loaded) == checksum(fashion)
    assert checksum(load("mnist", tmp_path)) == checksum(digits)


def test_a_linked_folder_is_prepared_and_read_again(tmp_path: Path, fashion: ImageDataset) -> None:
    write_archives(tmp_path / "elsewhere", fashion, ".gz")
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "fashion_mnist").symlink_to(tmp_path / "elsewhere")
    load("fashion_mnist", tmp_path)
    shutil.rmtree(tmp_path / "elsewhere")
    (tmp_path / PREPARED / "decoded.npz").unlink()
    loaded = load("fashion_mnist", tmp_path)
    assert loaded.source == f"prepared data in {tmp_path / PREPARED}"
    assert checksum(loaded) == checksum(fashion)


def test_archives_of_mnist_are_not_taken_for_it(tmp_path: Path) -> None:
    write_archives(tmp_path / "manual", noise("mnist"), ".gz")
    advice = rf"put {', '.join(NAMES)} .* into {tmp_path / 'manual' / 'fashion_mnist'}$"
    with pytest.raises(DatasetError, match=f"failed .*: {advice}"):
        load("fashion_mnist", tmp_path)


def test_its_own_archives_are_not_taken_for_mnist(tmp_path: Path, fashion: ImageDataset) -> None:
    write_archives(tmp_path / "manual" / "fashion_mnist", fashion, ".gz")
    with pytest.raises(DatasetError, match=rf"into {tmp_path / 'manual'}$"):
        load("mnist", tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path, fashion: ImageDataset) -> None:
    write_archives(tmp_path / "manual" / "fashion_mnist", fashion, ".gz")
    archive = tmp_path / "manual" / "fashion_mnist" / f"{NAMES[2]}.gz"
    archive.write_bytes(archive.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=f"^{archive}: expected a complete gzip file"):
        load("fashion_mnist", tmp_path)
    archive.unlink()
    with pytest.raises(DatasetError, match=f"^{archive.parent} holds only some .*add {NAMES[2]}"):
        load("fashion_mnist", tmp_path)


def test_an_absent_folder_gets_a_sentence_that_names_the_archives(tmp_path: Path) -> None:
    manual = tmp_path / "absent" / "manual" / "fashion_mnist"
    with pytest.raises(DatasetError, match=f"is not an existing folder: .* into {manual} unless"):
        load("fashion_mnist", tmp_path / "absent")


def test_it_is_downloaded_where_no_archives_are(
    tmp_path: Path, fashion: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archives(tmp_path / "served", fashion, ".gz")
    with served(tmp_path / "served", monkeypatch, Builder):
        loaded = load("fashion_mnist", tmp_path)
    assert loaded.source == "download"
    assert checksum(loaded) == checksum(fashion)


def test_tfds_own_builder_is_of_the_same_name_version_and_features(
    tmp_path: Path, fashion: ImageDataset
) -> None:
    write_archives(tmp_path / "manual" / "fashion_mnist", fashion, ".gz")
    load("fashion_mnist", tmp_path)
    (own, theirs) = (make(data_dir=tmp_path) for make in (Builder, FashionMNIST))
    assert theirs.data_path == own.data_path
    code = Builder(data_dir=tmp_path / "nowhere")  # what is not restored from a file
    other = FashionMNIST(data_dir=tmp_path / "nowhere")
    assert repr(code.info.features) == repr(other.info.features)
    assert code.info.features["label"].names == other.info.features["label"].names
    assert code.info.supervised_keys == other.info.supervised_keys


def test_every_download_has_a_checksum() -> None:
    assert URL == FashionMNIST.URL
    assert Builder.url_infos.keys() == {f"{URL}{name}.gz" for name in NAMES}
