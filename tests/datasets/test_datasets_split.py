"""CIFAR-100 and TinyImageNet: archives, prepared data and downloads are read back bit for bit."""

import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import served
from split_archives import CIFAR, Original, assert_same, decode

from lamaml_jax.datasets import DatasetError, load

pytestmark = pytest.mark.usefixtures("offline")


def test_an_archive_and_then_its_prepared_data_and_cache_are_read_back_bit_for_bit(
    original: Original, tmp_path: Path
) -> None:
    original.write(tmp_path / "manual", original.members)
    prepared = tmp_path / original.prepared
    loaded = load(original.dataset.name, tmp_path)
    assert loaded.source == f"archives in {tmp_path / 'manual'}"
    assert_same(loaded, original.dataset)

    shutil.rmtree(tmp_path / "manual")
    (prepared / "decoded.npz").unlink()
    loaded = load(original.dataset.name, tmp_path)
    assert loaded.source == f"prepared data in {prepared}"
    assert_same(loaded, original.dataset)

    for shard in prepared.glob("*.array_record*"):
        shard.unlink()
    assert_same(load(original.dataset.name, tmp_path), original.dataset)


def test_a_grey_image_becomes_one_of_equal_channels(tiny: Original, tmp_path: Path) -> None:
    tiny.write(tmp_path / "manual", tiny.members)
    image = load("tiny_imagenet", tmp_path).train_images[0]
    first = min(name for name in tiny.members if re.search(r"/train/.*_2\.JPEG", name))
    assert (grey := decode(tiny.members[first])).mode == "L"
    np.testing.assert_array_equal(image, np.repeat(np.asarray(grey)[..., None], 3, axis=-1))


def test_tensorflow_is_never_imported(cifar: Original, tiny: Original, tmp_path: Path) -> None:
    for original in (cifar, tiny):
        original.write(tmp_path / "manual", original.members)
    decoy = tmp_path / "tensorflow"
    decoy.mkdir()
    (decoy / "__init__.py").write_text("raise AssertionError('TensorFlow was imported')")
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from lamaml_jax.datasets import load
for name in ("cifar100", "tiny_imagenet") * 2:
    load(name, sys.argv[1])
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)


@pytest.mark.parametrize("name", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_pickles_of_old_and_new_numpy_are_read(
    cifar: Original, tmp_path: Path, name: bytes
) -> None:
    members = dict(cifar.members)
    for member in (f"{CIFAR}/train", f"{CIFAR}/test"):
        content = pickle.dumps(members[member], protocol=2)
        members[member] = re.sub(rb"numpy\._?core\.multiarray", name, content)
        assert b"c" + name + b"\n_reconstruct\n" in members[member]
    cifar.write(tmp_path / "manual", members)
    assert_same(load("cifar100", tmp_path), cifar.dataset)


def test_without_network_one_sentence_says_which_file_to_put_where(
    original: Original, tmp_path: Path
) -> None:
    start = time.monotonic()
    advice = f"put {original.archive} into {tmp_path / 'manual'}$"
    with pytest.raises(DatasetError, match=f"127.0.0.1:9/ failed .*: {advice}"):
        load(original.dataset.name, tmp_path)
    assert time.monotonic() - start < 5  # tfds by itself would retry for minutes


def test_a_download_is_prepared(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data_dir = tmp_path / "served", tmp_path / "data"
    data_dir.mkdir()
    original.write(folder, original.members)
    with served(folder, monkeypatch, original.builder):
        loaded = load(original.dataset.name, data_dir)
    assert loaded.source == "download"
    assert_same(loaded, original.dataset)
