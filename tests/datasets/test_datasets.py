"""Datasets: prepared from archives or a download, read back bit for bit, or a clear sentence."""

import gzip
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow_datasets as tfds
from helpers import served
from idx_archives import NAMES, idx, noise, write_archives
from tensorflow_datasets.core.download.checksums import UrlInfo

from lamaml_jax.datasets import DatasetError, ImageDataset, checksum, load
from lamaml_jax.datasets.mnist import Builder

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES
PREPARED = Path("mnist", "3.0.1")

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module")
def small() -> ImageDataset:
    return noise("mnist")


@pytest.fixture
def data_dir(tmp_path: Path, small: ImageDataset) -> Path:
    """A folder whose `manual` holds the small dataset, gzipped."""
    write_archives(tmp_path / "manual", small, ".gz")
    return tmp_path


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.usefixtures("server")  # a download would succeed, and yet is not used
def test_archives_are_read_back_bit_for_bit(
    tmp_path: Path, small: ImageDataset, suffix: str
) -> None:
    write_archives(tmp_path / "manual", small, suffix)
    loaded = load("mnist", tmp_path)
    assert loaded.name == "mnist"
    assert loaded.source == f"archives in {tmp_path / 'manual'}"
    assert checksum(loaded) == checksum(small)


def test_second_load_uses_the_prepared_data(data_dir: Path, small: ImageDataset) -> None:
    load("mnist", data_dir)
    shutil.rmtree(data_dir / "manual")
    (data_dir / PREPARED / "decoded.npz").unlink()
    loaded = load("mnist", data_dir)
    assert loaded.source == f"prepared data in {data_dir / PREPARED}"
    assert checksum(loaded) == checksum(small)


def test_second_load_uses_the_cache(data_dir: Path, small: ImageDataset) -> None:
    load("mnist", data_dir)
    for shard in (data_dir / PREPARED).glob("*.array_record*"):
        shard.unlink()
    assert checksum(load("mnist", data_dir)) == checksum(small)


def _flip_a_byte(cache: Path) -> None:
    content = bytearray(cache.read_bytes())
    content[len(content) // 2] ^= 1
    cache.write_bytes(content)


def _drop_an_example(cache: Path) -> None:
    _rewrite(cache, lambda name, array: array[1:] if name.startswith("test_") else array)


def _exchange_for_data_of_another_size(cache: Path) -> None:
    _rewrite(cache, lambda name, array: array + 1)


def _rewrite(cache: Path, change: Callable[[str, npt.NDArray[Any]], npt.NDArray[Any]]) -> None:
    with np.load(cache) as file:
        arrays = {name: change(name, file[name]) for name in file}
    np.savez(cache, allow_pickle=False, **arrays)


@pytest.mark.parametrize(
    "damage", [_flip_a_byte, cut_in_half, _drop_an_example, _exchange_for_data_of_another_size]
)
def test_a_bad_cache_is_written_anew(
    data_dir: Path, small: ImageDataset, damage: Callable[[Path], None]
) -> None:
    load("mnist", data_dir)
    cache = data_dir / PREPARED / "decoded.npz"
    intact = cache.read_bytes()
    damage(cache)
    assert checksum(load("mnist", data_dir)) == checksum(small)
    assert cache.read_bytes() == intact


def test_a_cache_that_cannot_be_written_does_no_harm(data_dir: Path, small: ImageDataset) -> None:
    load("mnist", data_dir)
    cache = data_dir / PREPARED / "decoded.npz"
    cache.unlink()
    cache.mkdir()
    assert checksum(load("mnist", data_dir)) == checksum(small)
    assert not list(cache.parent.glob("decoded.npz.*"))


def test_a_killed_preparation_is_not_taken_as_prepared(data_dir: Path, small: ImageDataset) -> None:
    code = """
import os, sys
from lamaml_jax.datasets import load
from lamaml_jax.datasets.mnist import Builder
complete = Builder._generate_examples
def interrupted(self, images, labels):
    yield from complete(self, images[:20], labels[:20])
    if len(images) == 20:
        os._exit(7)
Builder._generate_examples = interrupted
load("mnist", sys.argv[1])
"""
    killed = subprocess.run([sys.executable, "-c", code, data_dir], check=False)
    assert killed.returncode == 7
    assert list((data_dir / "mnist").glob("incomplete.*/*train*")), "it was not half prepared"
    loaded = load("mnist", data_dir)
    assert loaded.source.startswith("archives")
    assert checksum(loaded) == checksum(small)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "dataset_info.json").unlink(),
        lambda folder: cut_in_half(folder / "dataset_info.json"),
        lambda folder: cut_in_half(folder / "mnist-train.array_record-00000-of-00001"),
        lambda folder: (folder / "mnist-test.array_record-00000-of-00001").unlink(),
    ],
)
def test_incomplete_prepared_data_is_named(data_dir: Path, damage: Callable[[Path], None]) -> None:
    load("mnist", data_dir)
    folder = data_dir / PREPARED
    (folder / "decoded.npz").unlink()
    damage(folder)
    with pytest.raises(DatasetError, match=f"{folder} cannot be read .*: delete that folder"):
        load("mnist", data_dir)


def test_tensorflow_is_never_imported(data_dir: Path) -> None:
    decoy = data_dir / "tensorflow"
    decoy.mkdir()
    (decoy / "__init__.py").write_text("raise AssertionError('TensorFlow was imported')")
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from lamaml_jax.datasets import load
for _ in range(2):
    load("mnist", sys.argv[1])
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, data_dir], check=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TRAIN_IMAGES, gzip.compress(b"cut short")[:-1], "expected a complete gzip file"),
        (TEST_IMAGES, gzip.compress(b"bad sum")[:-8] + bytes(8), "expected a complete gzip file"),
        (TEST_LABELS, b"<html>", "expected at least 8 bytes, found 6"),
        (TRAIN_IMAGES, idx(np.zeros(30)), "expected the magic number 2051, found 2049"),
        (TEST_IMAGES, idx(np.zeros((20, 28, 28)))[:-5], "expected 15696 bytes, found 15691"),
        (TEST_IMAGES, idx(np.zeros((20, 28, 28))) + b"x", "expected 15696 bytes, found 15697"),
        (TRAIN_IMAGES, idx(np.zeros((0, 28, 28))), "expected at least one example"),
        (TEST_IMAGES, idx(np.zeros((20, 4, 5))), "expected images of 28x28, found 4x5"),
        (TEST_LABELS, idx(np.full(20, 10)), "expected labels from 0 to 9, found 10"),
        (TRAIN_LABELS, idx(np.zeros(2)), f"expected 30 labels, .* {TRAIN_IMAGES}.gz, found 2"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,  # gzip writes the time
)
def test_a_corrupt_archive_is_named(
    data_dir: Path, name: str, content: bytes, message: str
) -> None:
    archive = data_dir / "manual" / f"{name}.gz"
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=f"^{archive}: {message}"):
        load("mnist", data_dir)
    assert not list((data_dir / "mnist").iterdir())


def test_missing_archives_are_named(data_dir: Path) -> None:
    for name in (TRAIN_LABELS, TEST_IMAGES):
        (data_dir / "manual" / f"{name}.gz").unlink()
    expected = f"add {TRAIN_LABELS}, {TEST_IMAGES} \\(with or without .gz\\)$"
    with pytest.raises(DatasetError, match=f"{data_dir / 'manual'} holds only some .*{expected}"):
        load("mnist", data_dir)


def test_a_folder_that_cannot_be_written_is_named(data_dir: Path) -> None:
    (data_dir / "mnist").touch()
    with pytest.raises(DatasetError, match=f"nothing can be prepared in {data_dir}: "):
        load("mnist", data_dir)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"one of \['cifar100', 'fashion_mnist', 'mnist', 'tiny_imagenet'\], got 'mnits'",
    ):
        load("mnits", tmp_path)
    with pytest.raises(DatasetError, match="mnist needs a data_dir"):
        load("mnist", None)
    with pytest.raises(DatasetError, match=r"'.*absent' is not an existing folder: create it"):
        load("mnist", tmp_path / "absent")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def server(
    tmp_path: Path, small: ImageDataset, offline: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder with the small dataset, served where MNIST is downloaded from."""
    folder = tmp_path / "served"
    write_archives(folder, small, ".gz")
    with served(folder, monkeypatch, Builder):
        yield folder


@pytest.mark.usefixtures("server")
def test_a_download_shows_progress_and_is_prepared(
    tmp_path: Path, small: ImageDataset, capfd: pytest.CaptureFixture[str]
) -> None:
    tfds.enable_progress_bar()
    loaded = load("mnist", tmp_path)
    assert loaded.source == "download"
    assert checksum(loaded) == checksum(small)
    assert "Dl Completed..." in capfd.readouterr().err


def _advice(data_dir: Path) -> str:
    return f"put {', '.join(NAMES)} \\(with or without .gz\\) into {data_dir / 'manual'}$"


def test_without_network_one_sentence_says_which_files_to_put_where(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(DatasetError, match=f"127.0.0.1:9/ failed .*: {_advice(tmp_path)}"):
        load("mnist", tmp_path)
    assert time.monotonic() - start < 5  # tfds by itself would retry for minutes


def test_a_failed_download_is_no_dataset(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = UrlInfo(size=1, checksum="0" * 64, filename=None)
    with monkeypatch.context() as context:
        url = f"{Builder.ARCHIVES.url}{TEST_LABELS}.gz"
        context.setattr(Builder, "url_infos", {url: wrong})
        with pytest.raises(DatasetError, match=f"NonMatchingChecksumError.*{_advice(tmp_path)}"):
            load("mnist", tmp_path)
    (server / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(DatasetError, match=f"DownloadError.*{_advice(tmp_path)}"):
        load("mnist", tmp_path)
