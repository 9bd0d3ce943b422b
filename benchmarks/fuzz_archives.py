"""Feed the readers of archives what a coverage-guided fuzzer makes of small valid ones; needs the extra `fuzz`.

    python -m benchmarks.fuzz_archives idx -max_total_time=600
    python -m benchmarks.fuzz_archives cifar corpus -max_total_time=600

The first argument says what is fuzzed (see `TARGETS`); the others are libFuzzer's own: folders of a corpus that grows,
and options. A reader may return what it promises or raise DatasetError; anything else, a hang of more than 20 seconds,
and more than 2 GB of memory are findings, whose input is left in a file of the working directory.
"""

import contextlib
import gzip
import io
import itertools
import os
import pathlib
import pickle
import shutil
import signal
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import atheris
import numpy as np
from PIL import Image

READERS = (
    *("lamaml_jax.datasets.idx", "lamaml_jax.datasets.reading"),
    *("lamaml_jax.datasets.cifar100.archive", "lamaml_jax.datasets.tiny_imagenet.archive"),
)
with atheris.instrument_imports(include=[*READERS, "tarfile", "zipfile", "pickletools", "gzip"]):
    import pickletools  # noqa: F401

    from lamaml_jax.datasets import DatasetError, idx, tiny_imagenet  # noqa: F401
    from lamaml_jax.datasets.cifar100 import archive as cifar
    from lamaml_jax.datasets.tiny_imagenet import archive as tiny

CIFAR, TINY = "cifar-100-python", "tiny-imagenet-200"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fuzz_", dir="/dev/shm"))
PATH = FOLDER / "input"


def main() -> None:
    """Run libFuzzer in a process of its own, which it ends as it likes, and remove what the readers were given."""
    process = os.fork()
    if not process:
        _fuzz()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(process, signal.SIGTERM))
    try:
        _, status = os.waitpid(process, 0)
    finally:
        shutil.rmtree(FOLDER)
    sys.exit(os.waitstatus_to_exitcode(status))


def _fuzz() -> NoReturn:
    target, *options = sys.argv[1:]
    read, seeds = TARGETS[target]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"seed_{number}").write_bytes(seed)
    folders = [option for option in options if not option.startswith("-")] or [str(corpus)]
    if str(corpus) not in folders:
        folders.append(str(corpus))
    flags = [option for option in options if option.startswith("-")]
    defaults = ["-timeout=20", "-rss_limit_mb=2048", "-max_len=20000"]
    atheris.Setup([sys.argv[0], *folders, *defaults, *flags], lambda data: _refusing(read, data))
    atheris.Fuzz()
    os._exit(0)


def _refusing(read: Callable[[bytes], None], data: bytes) -> None:
    with contextlib.suppress(DatasetError):
        read(data)


def read_idx(data: bytes) -> None:
    """Read images, plain or gzipped."""
    PATH.write_bytes(data)
    images = idx.read_idx(PATH, 3)
    assert images.ndim == 3 and images.size and images.dtype == np.uint8


def read_packed_idx(data: bytes) -> None:
    """Read images and labels, gzipped as they are given."""
    labels = FOLDER / "labels"
    PATH.write_bytes(gzip.compress(data[16:], 1))
    labels.write_bytes(gzip.compress(data[:16], 1))
    images, numbers = idx.read_pair(PATH, labels, size=2)
    assert images.shape[1:] == (2, 2) and len(images) == len(numbers) and numbers.max() < 10


def read_cifar(data: bytes) -> None:
    """Read an archive as it is given."""
    PATH.write_bytes(data)
    _check_splits(cifar.read_splits(PATH))


def read_tar(data: bytes) -> None:
    """Read an archive, gzipped as it is given."""
    PATH.write_bytes(gzip.compress(data, 1))
    _check_splits(cifar.read_splits(PATH))


def read_pickle(data: bytes) -> None:
    """Read a pickle in an archive."""
    PATH.write_bytes(gzip.compress(_tar({"train": data, "test": _pickled(2)}), 1))
    _check_splits(cifar.read_splits(PATH))


def read_zip(data: bytes) -> None:
    """Read an archive of one class."""
    PATH.write_bytes(data)
    for members in tiny.list_members(PATH).values():
        for content, label in itertools.islice(members.read(), 20):
            assert label == 0 and content


def read_members(data: bytes) -> None:
    """Read an archive whose files hold what is given, with sound checksums."""
    provider = atheris.FuzzedDataProvider(data)
    names = {name: provider.ConsumeBytes(64) for name in ("wnids.txt", "val/val_annotations.txt")}
    name = provider.ConsumeUnicodeNoSurrogates(40)
    images = {"train/n1/images/n1_0.JPEG": None, f"val/images/{name}": None, name: None}
    rest = provider.ConsumeBytes(provider.remaining_bytes())
    read_zip(_zip({**names, **dict.fromkeys(images, rest)}))


def _check_splits(splits: dict[str, Any]) -> None:
    for split in splits.values():
        assert split.images.shape == (len(split.labels), 32, 32, 3)
        assert split.images.dtype == np.uint8 and len(split.labels) == len(split.superclasses)
        assert split.labels.min() >= 0 and split.labels.max() < 100


def _pickled(count: int, protocol: int = 2) -> bytes:
    values = {
        b"fine_labels": list(range(count)),
        b"coarse_labels": [0] * count,
        b"data": np.zeros((count, 3072), np.uint8),
    }
    return pickle.dumps(values, protocol)


def _tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"{CIFAR}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _zip(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(f"{TINY}/{name}", content)
    return file.getvalue()


def _tiny_members() -> dict[str, bytes]:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG")
    return {
        "wnids.txt": b"n1\n",
        "val/val_annotations.txt": b"val_0.JPEG\tn1\t0\t0\t1\t1\n",
        "train/n1/images/n1_0.JPEG": file.getvalue(),
        "val/images/val_0.JPEG": file.getvalue(),
    }


def _idx_seeds() -> Iterator[bytes]:
    images = np.array([0x803, 2, 2, 2], ">u4").tobytes() + bytes(8)
    yield from (images, gzip.compress(images))


def _pair_seed() -> bytes:
    labels = np.array([0x801, 8], ">u4").tobytes() + bytes(8)
    return labels + np.array([0x803, 8, 2, 2], ">u4").tobytes() + bytes(32)


tiny.NUM_CLASSES = 1
_CIFAR_TAR = _tar({"train": _pickled(2), "test": _pickled(1, 0)})
_MEMBERS = _tiny_members()

TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "idx": (read_idx, list(_idx_seeds())),
    "packed_idx": (read_packed_idx, [_pair_seed()]),
    "cifar": (read_cifar, [gzip.compress(_CIFAR_TAR)]),
    "tar": (read_tar, [_CIFAR_TAR]),
    "pickle": (read_pickle, [_pickled(1, protocol) for protocol in range(5)]),
    "zip": (read_zip, [_zip(_MEMBERS, packing) for packing in (0, 8)]),
    "members": (read_members, [b"".join(_MEMBERS.values())]),
}
"""What is fuzzed: how an input is read, and the inputs to begin with."""

if __name__ == "__main__":
    main()
