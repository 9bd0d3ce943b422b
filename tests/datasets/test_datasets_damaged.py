"""CIFAR-100 and TinyImageNet: a damaged, wrong or hostile archive is one clear sentence, and does no harm."""

import gzip
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from split_archives import CIFAR, TINY, Members, Original, assert_refused, assert_same, jpeg

from lamaml_jax.datasets import DatasetError, load

pytestmark = pytest.mark.usefixtures("offline")


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
    original: Original, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    archive = original.write(tmp_path / "manual", original.members)
    archive.write_bytes(damage(archive.read_bytes()))
    assert_refused(
        original, tmp_path, archive, "expected a complete (gzipped tar|zip) file, found: ."
    )


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
        ("data", lambda data: data.tolist(), _DICT),
        ("fine_labels", lambda labels: [100, *labels[1:]], _LABELS),
        ("fine_labels", lambda labels: [-1, *labels[1:]], _LABELS),
        ("fine_labels", lambda labels: [0.5, *labels[1:]], _DICT),
        ("fine_labels", lambda labels: [[label, label] for label in labels], _DICT),
        ("fine_labels", lambda labels: np.stack([labels, labels]), rf"{_IMAGES}.*\(2, 200\)"),
        ("fine_labels", lambda labels: np.asarray(labels, np.float32), _LABELS),
        ("fine_labels", lambda labels: [[1, 2], *labels[1:]], _DICT),
        ("fine_labels", lambda labels: labels[0], _DICT),
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
    assert_refused(cifar, tmp_path, archive, message)


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
    assert_refused(cifar, tmp_path, cifar.write(tmp_path / "manual", members), message)


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
            _with("/train/", lambda _: jpeg(np.random.default_rng(1), side=63)),
            rf"expected {TINY}/train/.*JPEG to be 64x64, found \(63, 63\)",
        ),
        (_with("/val/images", lambda _: b"no"), f"expected an image in {TINY}/val/images/val_0"),
        (
            _with("/val/images", lambda content: content[: len(content) // 2]),
            f"expected an image in {TINY}/val/images/val_0",
        ),
    ],
)
def test_a_wrong_member_is_named(
    tiny: Original, tmp_path: Path, change: Callable[[Members], Members], message: str
) -> None:
    archive = tiny.write(tmp_path / "manual", change(tiny.members))
    assert_refused(tiny, tmp_path, archive, message)


@pytest.mark.parametrize("pattern", ["_10.JPEG", "wnids.txt"])
def test_a_member_with_a_flipped_bit_is_named(tiny: Original, tmp_path: Path, pattern: str) -> None:
    archive = tiny.write(tmp_path / "manual", tiny.members)
    name = _first(tiny.members, pattern)
    content = tiny.members[name]
    raw = bytearray(archive.read_bytes())
    start = raw.index(content if isinstance(content, bytes) else content.encode())
    raw[start + len(content) - 1] ^= 1
    archive.write_bytes(raw)
    assert_refused(tiny, tmp_path, archive, f"expected .*, found: Bad CRC-32 for file '{name}'")


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
    assert_refused(tiny, tmp_path, archive, message)
