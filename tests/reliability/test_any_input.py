"""Whatever strangers have packed and users typed: what is promised, or one sentence, and never another error."""

import contextlib
import gzip
import json
import pathlib
import pickle
import string
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from idx_archives import idx as packed_idx
from split_archives import CIFAR, TINY, jpeg, write_tar, write_zip

from experiments.reporting.summary import is_summary
from experiments.runs import descriptions, workdirs
from experiments.sweeps import grid
from lamaml_jax import checkpoint, hyper, la_maml
from lamaml_jax.datasets import DatasetError
from lamaml_jax.datasets.cifar100 import archive as cifar
from lamaml_jax.datasets.idx import read_idx
from lamaml_jax.datasets.tiny_imagenet import archive as tiny

few = settings(max_examples=60, derandomize=True, deadline=None, database=None)


@contextlib.contextmanager
def refusing(error: type[Exception]) -> Iterator[None]:
    """Let the block fail with a sentence, and in no other way."""
    try:
        yield
    except error as sentence:
        assert str(sentence) and "\n" not in str(sentence)


@contextlib.contextmanager
def file_of(content: bytes) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "file"
        path.write_bytes(content)
        yield path


def changed(whole: bytes) -> some.SearchStrategy[bytes]:
    """Draw what is left of a file after some bytes were replaced, inserted or cut out."""

    def change(edits: list[tuple[int, int, bytes]]) -> bytes:
        content = whole
        for place, length, text in edits:
            place %= len(whole)
            content = content[:place] + text + content[place + length :]
        return content

    edit = some.tuples(some.integers(0), some.integers(0, 9), some.binary(max_size=9))
    return some.lists(edit, max_size=4).map(change)


def pickled(count: int) -> bytes:
    labels = list(range(count))
    images = np.zeros((count, 3072), np.uint8)
    return pickle.dumps({b"data": images, b"fine_labels": labels, b"coarse_labels": labels}, 2)


IMAGES = packed_idx(np.zeros((2, 3, 3)))
PICKLE = pickled(2)
JPEG = jpeg(np.random.default_rng(0))


@few
@given(some.binary(max_size=40) | changed(IMAGES) | changed(gzip.compress(IMAGES)))
def test_any_idx_file(content: bytes) -> None:
    with file_of(content) as path, refusing(DatasetError):
        images = read_idx(path, 3)
        assert images.ndim == 3 and images.size and images.dtype == np.uint8


@few
@given(some.binary(max_size=40) | changed(PICKLE), some.booleans())
def test_any_pickle_in_a_cifar_archive(content: bytes, cut: bool) -> None:
    with file_of(b"") as path, refusing(DatasetError):
        write_tar(path, {f"{CIFAR}/train": content, f"{CIFAR}/test": PICKLE})
        if cut:
            path.write_bytes(path.read_bytes()[:-100])
        splits = cifar.read_splits(path)
        for split in splits.values():
            assert split.images.shape == (len(split.labels), 32, 32, 3) and split.labels.max() < 100
        assert not cut


@few
@given(some.data())
def test_any_member_of_a_tiny_imagenet_archive(data: some.DataObject) -> None:
    members = {
        f"{TINY}/wnids.txt": data.draw(some.just(b"n1\n") | some.binary(max_size=20)),
        f"{TINY}/val/val_annotations.txt": data.draw(
            some.just(b"val_0.JPEG\tn1\n") | some.binary(max_size=20)
        ),
        f"{TINY}/train/n1/images/n1_0.JPEG": data.draw(some.just(JPEG) | changed(JPEG)),
        f"{TINY}/val/images/val_0.JPEG": JPEG,
        data.draw(some.text(min_size=1, max_size=20)): b"",
    }
    with file_of(b"") as path, refusing(DatasetError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "NUM_CLASSES", 1)
        with contextlib.suppress(UnicodeEncodeError):  # half a letter, which zipfile does not write
            write_zip(path, members)
        path.write_bytes(
            data.draw(some.just(path.read_bytes()) | changed(path.read_bytes() or b"-"))
        )
        for split in tiny.list_members(path).values():
            assert [label for _, label in split.read()] == [0]


WORDS = some.text(max_size=12) | some.text(string.digits + ".-+einfax,:lgo_=", max_size=12)
NAMES = some.sampled_from(sorted(hyper.names(la_maml)))


@few
@given(some.lists(some.tuples(NAMES | WORDS, WORDS).map("=".join) | WORDS, max_size=3))
def test_any_setting(texts: list[str]) -> None:
    with refusing(ValueError):
        found = hyper.parse(la_maml, texts)
        assert set(found) <= hyper.names(la_maml)


@few
@given(
    some.tuples(NAMES | WORDS, WORDS).map("=".join)
    | some.tuples(
        WORDS, some.floats(), some.floats(), some.sampled_from(["log", "lin"]), WORDS
    ).map(lambda parts: f"{parts[0]}={parts[1]}:{parts[2]}:{parts[3]}{parts[4]}")
)
def test_any_axis(text: str) -> None:
    with refusing(ValueError):
        axis = grid.parse(text)
        assert axis.name and len(set(axis.values)) == len(axis.values) <= grid.MANY_POINTS
        points = grid.product([axis])
        assert points == [(value,) for value in axis.values] and points


STATE = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "seconds": 1.5}


def content_of(write: Callable[[pathlib.Path], None]) -> bytes:
    with file_of(b"") as path:
        write(path)
        return path.read_bytes()


SAVED = content_of(lambda path: checkpoint.write(path, STATE))


@few
@given(some.binary(max_size=40) | changed(SAVED))
def test_any_state(content: bytes) -> None:
    with file_of(content) as path, refusing(ValueError):
        found = checkpoint.read(path, STATE)
        assert (found["kernel"] == STATE["kernel"]).all() and found["seconds"] == 1.5


@few
@given(some.binary(max_size=40) | changed(SAVED))
def test_any_results(content: bytes) -> None:
    with file_of(content) as path, refusing(ValueError):
        path.rename(path.with_name("results.npz"))
        found = workdirs.read_results(path.parent)
        assert (found["['kernel']"] == STATE["kernel"]).all() and len(found) == 2


JSON = some.recursive(
    some.none() | some.booleans() | some.floats() | some.text(max_size=9),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=9), inner),
    max_leaves=6,
)
PARTS = some.fixed_dictionaries({name: JSON for name in ("settings", "data", "versions")})


@few
@given(some.binary(max_size=40) | (PARTS | JSON).map(lambda found: json.dumps(found).encode()))
def test_any_description_and_summary(content: bytes) -> None:
    with file_of(content) as path, refusing(ValueError):
        found: Any = descriptions.read(path)
        assert found is None or "lamaml_jax" in found["versions"]
        path.rename(path.with_name("summary.json"))
        assert is_summary(workdirs.read_summary(path.parent))
