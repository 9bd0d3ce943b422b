"""CIFAR-100 and TinyImageNet: archives as the originals read back bit for bit, or a clear sentence."""

import functools
import gzip
import http.server
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lamaml_jax.datasets import DatasetError, ImageDataset, checksum, cifar100, load, tiny_imagenet

CIFAR, TINY = "cifar-100-python", "tiny-imagenet-200"
Members = dict[
    str, Any
]  # what an archive holds under each name: bytes, or what is pickled to bytes


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


@pytest.fixture(scope="module")
def cifar() -> Original:
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


@pytest.fixture(scope="module")
def tiny() -> Original:
    """Two training images of every class, the very first one grey, and one test image."""
    rng = np.random.default_rng(0)
    wnids = [f"n{number:08d}" for number in np.sort(rng.choice(10**8, 200, replace=False))]
    train = [(f"{wnid}_{number}", wnid) for wnid in wnids for number in (2, 10)]
    test = [(f"val_{number}", wnid) for number, wnid in enumerate(rng.permutation(wnids))]
    members: Members = {
        f"{TINY}/train/{wnid}/images/{name}.JPEG": _jpeg(rng) for name, wnid in train
    }
    members |= {f"{TINY}/val/images/{name}.JPEG": _jpeg(rng) for name, _ in test}
    members[next(iter(members))] = _jpeg(rng, channels=1)
    pictures = np.stack([np.asarray(decode(jpeg).convert("RGB")) for jpeg in members.values()])
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
        f"{TINY}/test/images/test_0.JPEG": _jpeg(rng),
    }
    shuffled = {name: members[name] for name in rng.permutation(list(members)).tolist()}
    dataset = ImageDataset(
        "tiny_imagenet", pictures[:400], train_labels, pictures[400:], test_labels, "made up"
    )
    return Original(tiny_imagenet.Builder, f"{TINY}.zip", shuffled, dataset)


def _jpeg(rng: np.random.Generator, channels: int = 3, side: int = 64) -> bytes:
    pixels = rng.integers(0, 256, (side, side, channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(file, "JPEG", quality=95)
    return file.getvalue()


def decode(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg))


@pytest.fixture(params=["cifar", "tiny"])
def original(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def data_dir(tmp_path: Path, original: Original) -> Path:
    """A folder whose `manual` holds the original's archive."""
    original.write(tmp_path / "manual", original.members)
    return tmp_path


@pytest.fixture(autouse=True)
def _quiet_and_local(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for builder in (cifar100.Builder, tiny_imagenet.Builder):
        _set_url(monkeypatch, builder, "http://127.0.0.1:9/")  # nobody listens
    tfds.disable_progress_bar()
    yield
    tfds.enable_progress_bar()


def _set_url(monkeypatch: pytest.MonkeyPatch, builder: Any, url: str) -> None:
    monkeypatch.setattr(builder, "ARCHIVES", builder.ARCHIVES._replace(url=url))


def assert_same(loaded: ImageDataset, expected: ImageDataset) -> None:
    assert loaded.name == expected.name
    assert checksum(loaded) == checksum(expected)
    if expected.superclasses is None:
        assert loaded.superclasses is None
    else:
        assert loaded.superclasses is not None and loaded.superclasses.dtype == np.int32
        np.testing.assert_array_equal(loaded.superclasses, expected.superclasses)


def test_an_archive_and_then_its_prepared_data_and_cache_are_read_back_bit_for_bit(
    data_dir: Path, original: Original
) -> None:
    prepared = data_dir / original.prepared
    loaded = load(original.dataset.name, data_dir)
    assert loaded.source == f"archives in {data_dir / 'manual'}"
    assert_same(loaded, original.dataset)

    shutil.rmtree(data_dir / "manual")
    (prepared / "decoded.npz").unlink()
    loaded = load(original.dataset.name, data_dir)
    assert loaded.source == f"prepared data in {prepared}"
    assert_same(loaded, original.dataset)

    for shard in prepared.glob("*.array_record*"):
        shard.unlink()
    assert_same(load(original.dataset.name, data_dir), original.dataset)


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


class Call(NamedTuple):
    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> Any:
        """Have the function called by whoever reads the pickle."""
        return self.function, self.arguments


@pytest.mark.parametrize(
    "call",
    [
        lambda file: Call(os.system, (f"touch {file}",)),
        lambda file: Call(eval, (f"__import__('pathlib').Path({str(file)!r}).touch()",)),
        lambda file: Call(np.savetxt, (str(file), [1])),  # not all of numpy is harmless
    ],
)
def test_a_pickle_cannot_run_anything(
    cifar: Original, tmp_path: Path, call: Callable[[Path], Call]
) -> None:
    ran = tmp_path / "ran"
    train = cifar.members[f"{CIFAR}/train"] | {b"batch_label": call(ran)}
    assert pickle.loads(pickle.dumps(train, protocol=2)) and ran.exists()  # it works elsewhere
    ran.unlink()
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/train": train})
    with pytest.raises(DatasetError, match=f"^{archive}: .*train .* which no array needs"):
        load("cifar100", tmp_path)
    assert not ran.exists()


def test_no_member_is_written_outside_the_prepared_folder(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / "some" / "data"
    data_dir.mkdir(parents=True)
    monkeypatch.chdir(data_dir)
    names = ("evil", "../evil", "../../evil", f"{tmp_path}/absolute/evil")
    original.write(data_dir / "manual", {name: b"evil" for name in names} | original.members)
    before = _files(tmp_path)
    assert_same(load(original.dataset.name, data_dir), original.dataset)
    written = _files(tmp_path) - before
    assert {path for path in written if data_dir / original.prepared not in path.parents} == set()
    assert not {path.name for path in written} & {"evil", "train", "wnids.txt"}


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def _refused(original: Original, data_dir: Path, archive: Path, message: str) -> None:
    with pytest.raises(DatasetError, match=f"^{archive}: {message}"):
        load(original.dataset.name, data_dir)
    assert not list((data_dir / original.builder.name).iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: b"",
        lambda content: b"<html>",
        lambda content: gzip.compress(b"no tar file" * 100),
    ],
    ids=["half", "four bytes short", "empty", "html", "no tar inside"],
)
def test_a_damaged_archive_is_named(
    original: Original, data_dir: Path, damage: Callable[[bytes], bytes]
) -> None:
    archive = data_dir / "manual" / original.archive
    archive.write_bytes(damage(archive.read_bytes()))
    _refused(original, data_dir, archive, "expected a complete (gzipped tar|zip) file, found: .")


_DICT = "expected train to hold a dict of arrays data, fine_labels and coarse_labels"
_IMAGES = "expected train to hold images of 3072 bytes, one per label, found "
_LABELS = "expected train to hold 200 labels from 0 to 99"
_SUPERCLASSES = "expected train to hold 200 superclasses from 0 to 19"


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("data", lambda data: data.astype(np.float32), f"{_IMAGES}float32"),
        ("data", lambda data: data[:, 1:], rf"{_IMAGES}uint8 of shape \(200, 3071\)"),
        (
            "data",
            lambda data: data[1:],
            rf"{_IMAGES}uint8 of shape \(199, 3072\) and labels of shape \(200,\)",
        ),
        ("data", lambda data: data.tolist(), f"{_IMAGES}int64"),
        ("fine_labels", lambda labels: [100, *labels[1:]], _LABELS),
        ("fine_labels", lambda labels: [-1, *labels[1:]], _LABELS),
        ("fine_labels", lambda labels: [0.5, *labels[1:]], _LABELS),
        (
            "fine_labels",
            lambda labels: [[label, label] for label in labels],
            rf"{_IMAGES}.*\(200, 2\)",
        ),
        ("fine_labels", lambda labels: [[1, 2], *labels[1:]], _DICT),
        ("fine_labels", lambda labels: labels[0], rf"{_IMAGES}.* and labels of shape \(\)"),
        ("fine_labels", lambda labels: labels[1:], rf"{_IMAGES}.* and labels of shape \(199,\)"),
        ("fine_labels", lambda labels: [], rf"{_IMAGES}.* and labels of shape \(0,\)"),
        ("coarse_labels", lambda labels: [20, *labels[1:]], _SUPERCLASSES),
        ("coarse_labels", lambda labels: labels[1:], _SUPERCLASSES),
    ],
)
def test_wrong_values_in_a_pickle_are_named(
    cifar: Original, tmp_path: Path, key: str, change: Callable[[Any], Any], message: str
) -> None:
    train = dict(cifar.members[f"{CIFAR}/train"])
    train[key.encode()] = change(train[key.encode()])
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/train": train})
    _refused(cifar, tmp_path, archive, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, f"expected a file {CIFAR}/test, found "),
        (b"no pickle", "expected test to be a pickle of arrays and lists alone, found: "),
        ([1, 2], "expected test to hold a dict of arrays data, fine_labels and coarse_labels"),
        (
            {b"data": 0},
            "expected test to hold a dict of arrays data, fine_labels and coarse_labels",
        ),
    ],
)
def test_a_wrong_pickle_is_named(
    cifar: Original, tmp_path: Path, content: Any, message: str
) -> None:
    members = dict(cifar.members)
    del members[f"{CIFAR}/test"]
    if content is not None:
        members[f"{CIFAR}/test"] = content
    _refused(cifar, tmp_path, cifar.write(tmp_path / "manual", members), message)


def _first(members: Members, pattern: str) -> str:
    return min(name for name in members if re.search(pattern, name))


def _without(pattern: str) -> Callable[[Members], Members]:
    return lambda members: {name: members[name] for name in members if not re.search(pattern, name)}


def _with(pattern: str, change: Callable[[Any], Any]) -> Callable[[Members], Members]:
    def changed(members: Members) -> Members:
        name = _first(members, pattern)
        return members | {name: change(members[name])}

    return changed


def _without_the_first_class(members: Members) -> Members:
    return _without(_first(members, "/train/.*_2.JPEG").rpartition("/")[0])(members)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("wnids.txt"), f"expected a file {TINY}/wnids.txt, found none"),
        (_without("annotations"), f"expected a file {TINY}/val/val_annotations.txt, found none"),
        (_with("wnids.txt", lambda text: text[10:]), "expected 200 different .*, found 199"),
        (_with("wnids.txt", lambda text: text[10:] + text[-10:]), "expected 200 different"),
        (_with("wnids.txt", lambda _: b"\xff" * 9), "expected wnids.txt to be text, found: "),
        (_without("val_7.JPEG"), r"expected every line .*, found 'val_7.JPEG\\tn\d+\\t0"),
        (
            _with("annotations", lambda text: re.sub(r"n\d{8}", "n12345", text, count=1)),
            r"expected every line .*, found 'val_0.JPEG\\tn12345\\t0",
        ),
        (
            _with("annotations", lambda text: text.partition("\n")[2]),
            r"expected test images of every class, found none of n\d{8}$",
        ),
        (_without_the_first_class, r"expected train images of every class, found none of n\d{8}$"),
        (
            _with("/train/", lambda _: _jpeg(np.random.default_rng(1), side=63)),
            rf"expected {TINY}/train/.*JPEG to be 64x64, found \(63, 63\)",
        ),
        (_with("/val/images", lambda _: b"no"), f"expected an image in {TINY}/val/images/val_0"),
        (
            _with("/val/images", lambda jpeg: jpeg[: len(jpeg) // 2]),
            f"expected an image in {TINY}/val/images/val_0",
        ),
    ],
)
def test_a_wrong_member_is_named(
    tiny: Original, tmp_path: Path, change: Callable[[Members], Members], message: str
) -> None:
    archive = tiny.write(tmp_path / "manual", change(tiny.members))
    _refused(tiny, tmp_path, archive, message)


@pytest.mark.parametrize("pattern", ["_10.JPEG", "wnids.txt"])
def test_a_member_with_a_flipped_bit_is_named(tiny: Original, tmp_path: Path, pattern: str) -> None:
    archive = tiny.write(tmp_path / "manual", tiny.members)
    name = _first(tiny.members, pattern)
    content = tiny.members[name]
    raw = bytearray(archive.read_bytes())
    start = raw.index(content if isinstance(content, bytes) else content.encode())
    raw[start + len(content) - 1] ^= 1
    archive.write_bytes(raw)
    _refused(tiny, tmp_path, archive, f"expected .*, found: Bad CRC-32 for file '{name}'")


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (6, 200, "expected a complete zip file, found: zip file version 20.0"),
        (8, 1, "expected wnids.txt to be text, found: .* is encrypted"),
    ],
)
def test_a_zip_of_another_kind_is_named(
    tiny: Original, tmp_path: Path, offset: int, value: int, message: str
) -> None:
    archive = tiny.write(tmp_path / "manual", tiny.members)
    raw = bytearray(archive.read_bytes())
    entry = raw.rindex(b"PK\1\2", 0, raw.rindex(b"wnids.txt"))
    raw[entry + offset] = value
    archive.write_bytes(raw)
    _refused(tiny, tmp_path, archive, message)


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
    served, data_dir = tmp_path / "served", tmp_path / "data"
    data_dir.mkdir()
    original.write(served, original.members)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever).start()
        _set_url(monkeypatch, original.builder, f"http://127.0.0.1:{running.server_port}/")
        try:
            loaded = load(original.dataset.name, data_dir)
        finally:
            running.shutdown()
    assert loaded.source == "download"
    assert_same(loaded, original.dataset)
