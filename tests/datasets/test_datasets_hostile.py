"""An archive made to do harm, by its size, its links or its names, is one clear sentence and takes little memory."""

import gzip
import io
import pickle
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from split_archives import CIFAR, TINY, Original, assert_refused, assert_same

from lamaml_jax.datasets import DatasetError, load
from lamaml_jax.datasets.cifar100.archive import read_splits
from lamaml_jax.datasets.idx import read_idx

pytestmark = pytest.mark.usefixtures("offline")
MIB = 2**20
ZEROS = gzip.compress(bytes(MIB))  # several of them, one after the other, unpack to as many MiB


def _peak(action: Callable[[], None]) -> int:
    """Return the bytes that an action needs at most at a time."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_idx_file_is_unpacked_to_the_size_of_mnist_at_most(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(ZEROS * 256)

    def read() -> None:
        with pytest.raises(DatasetError, match=f"^{path}: .*, found: more than 47040016 bytes$"):
            read_idx(path, 3)

    assert _peak(read) < 110 * MIB


@pytest.mark.parametrize(
    "pattern", ["wnids.txt", "val/val_annotations.txt", "val/images/val_3.JPEG"]
)
def test_a_file_in_a_zip_that_unpacks_to_much_is_refused_unread(
    tiny: Original, tmp_path: Path, pattern: str
) -> None:
    archive = tiny.write(tmp_path / "manual", _without(tiny, f"{TINY}/{pattern}"))
    with (
        zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file,
        file.open(f"{TINY}/{pattern}", "w") as member,
    ):
        for _ in range(64):
            member.write(bytes(MIB))
    message = "expected .*, found: more than 1048576 bytes$"
    assert _peak(lambda: assert_refused(tiny, tmp_path, archive, message)) < 16 * MIB


@pytest.mark.parametrize("declared", [10, MIB])
def test_a_file_in_a_zip_that_belies_its_size_is_refused(
    tiny: Original, tmp_path: Path, declared: int
) -> None:
    name = f"{TINY}/wnids.txt"
    archive = tiny.write(tmp_path / "manual", _without(tiny, name))
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, bytes(32 * MIB))
        file.getinfo(name).file_size = declared  # the directory is written on closing
    message = "expected .*, found: Bad CRC-32 for file"
    assert _peak(lambda: assert_refused(tiny, tmp_path, archive, message)) < 16 * MIB


def test_packings_that_unpack_without_bound_are_refused(tiny: Original, tmp_path: Path) -> None:
    name = f"{TINY}/wnids.txt"
    archive = tiny.write(tmp_path / "manual", _without(tiny, name))
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_BZIP2) as file:
        file.writestr(name, tiny.members[name])
    message = "expected wnids.txt to be text, found: a packing whose size Python cannot bound"
    assert_refused(tiny, tmp_path, archive, message)


def test_a_pickle_larger_than_cifar_is_refused_unread(cifar: Original, tmp_path: Path) -> None:
    header = tarfile.TarInfo(f"{CIFAR}/train")
    header.size = 300 * MIB
    archive = tmp_path / "manual" / cifar.archive
    archive.parent.mkdir()
    archive.write_bytes(gzip.compress(header.tobuf()) + ZEROS * 301)
    message = "expected train to be of CIFAR-100's size, found: more than 307200000 bytes$"
    assert _peak(lambda: assert_refused(cifar, tmp_path, archive, message)) < 16 * MIB


@pytest.mark.parametrize(
    "content",
    [
        b"]" * 1_000_002,  # each byte an empty list
        b"]r\xff\xff\xff\x7f.",  # remembers a list as number 2**31 - 1
    ],
    ids=["many objects", "many remembered objects"],
)
def test_a_pickle_that_makes_more_than_it_holds_is_refused(
    cifar: Original, tmp_path: Path, content: bytes
) -> None:
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/test": content})
    message = (
        "expected test to be a pickle of arrays and lists alone, found: more than 1000000 steps$"
    )
    assert _peak(lambda: assert_refused(cifar, tmp_path, archive, message)) < 64 * MIB


def test_a_pickle_cannot_claim_an_array_without_content(cifar: Original, tmp_path: Path) -> None:
    class Claim:
        def __init__(self, *shape: int) -> None:
            self.shape = shape

        def __reduce__(self) -> tuple[object, ...]:
            return np.ndarray([0]).__reduce__()[0], (np.ndarray, self.shape, b"B")

    test = {b"data": Claim(10**6, 3072), b"fine_labels": Claim(10**6), b"coarse_labels": [0]}
    assert pickle.loads(pickle.dumps(test, 2))[b"data"].shape == (10**6, 3072)  # 3 GB elsewhere
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/test": test})
    assert_refused(cifar, tmp_path, archive, "expected test to hold images of 3072 bytes")


@pytest.mark.parametrize("key", [b"data", b"fine_labels", b"coarse_labels"])
def test_a_pickle_cannot_leave_an_array_unmade(cifar: Original, tmp_path: Path, key: bytes) -> None:
    array = b"cnumpy.core.multiarray\n_reconstruct\n)\x81"  # only allocated
    values = {
        b"data": array,
        b"fine_labels": b"]K\x00a",
        b"coarse_labels": b"]K\x00a",
        key: array,
    }
    items = b"".join(b"C" + bytes([len(name)]) + name + value for name, value in values.items())
    test = b"\x80\x03}(" + items + b"u."
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/test": test})
    assert_refused(cifar, tmp_path, archive, "expected test to hold images of 3072 bytes")


@pytest.mark.parametrize("key", [b"data", b"fine_labels", b"coarse_labels"])
def test_lists_that_share_their_items_are_not_expanded(
    cifar: Original, tmp_path: Path, key: bytes
) -> None:
    """A few hundred bytes that numpy would make an array of 27 million numbers of."""
    shared = [[[0] * 300] * 300] * 300
    test = cifar.members[f"{CIFAR}/test"] | {key: shared}
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/test": test})
    message = "expected test to hold a dict of arrays data, fine_labels and coarse_labels, the labels also as"
    assert _peak(lambda: assert_refused(cifar, tmp_path, archive, message)) < 64 * MIB


@pytest.mark.parametrize("labels", [[0] * 50_001, [True] * 30, [2**70] * 30], ids=len)
def test_only_a_list_of_so_many_integers_is_one_of_labels(
    cifar: Original, tmp_path: Path, labels: list[int]
) -> None:
    test = cifar.members[f"{CIFAR}/test"] | {b"fine_labels": labels}
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/test": test})
    message = "expected test to hold a dict of arrays data, fine_labels and coarse_labels, the labels also as"
    assert_refused(cifar, tmp_path, archive, message)


@pytest.mark.parametrize(
    "key",
    [
        b")" + b"\x85" * 900_000,  # deeper than the stack of the machine
        b"(" + b"K\x00" * 100 + b"t" + (b"q\x00" + b"(" + b"h\x00" * 100 + b"t") * 8,
    ],
    ids=["deep", "shared"],
)
def test_tuples_are_never_hashed_for_ever(cifar: Original, tmp_path: Path, key: bytes) -> None:
    """As the key of a dict either would end the process, or never end."""
    test = b"\x80\x02}" + key + b"K\x00s."
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/test": test})
    message = "expected test to be a pickle of .*, found: a tuple that describes no array$"
    assert_refused(cifar, tmp_path, archive, message)


def test_a_message_never_shows_lists_that_share_their_items(
    cifar: Original, tmp_path: Path
) -> None:
    lists = b"]q\x000" + b"".join(
        b"](" + (b"h" + bytes([n])) * 100 + b"eq" + bytes([n + 1]) + b"0" for n in range(6)
    )
    test = b"\x80\x02" + lists + b"c_codecs\nencode\nX\x01\x00\x00\x00ah\x06\x86R."
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/test": test})
    message = "expected test to be a pickle .*, found: a text in another encoding than latin1$"
    assert_refused(cifar, tmp_path, archive, message)


@pytest.mark.parametrize(
    "state",
    [(3, "|", None, -1, -1, 0), (3, "|", None, ("a",), {"a": 1}, 9, -1, 0), (3,), None, 5],
    ids=str,
)
def test_a_pickle_cannot_upset_numpy(cifar: Original, tmp_path: Path, state: object) -> None:
    """The first of these dtypes, which fuzzing found, makes numpy's own reader end the process."""

    class Kind:
        def __reduce__(self) -> tuple[object, ...]:
            return np.dtype, ("u1", False, True), state

    class Images:
        def __reduce__(self) -> tuple[object, ...]:
            return (
                np.ndarray([0]).__reduce__()[0],
                (np.ndarray, (0,), b"b"),
                (*(1, (1, 3072), Kind(), False, bytes(3072)),),
            )

    test = {b"data": Images(), b"fine_labels": [0], b"coarse_labels": [0]}
    archive = cifar.write(tmp_path / "manual", cifar.members | {f"{CIFAR}/test": test})
    try:
        splits = read_splits(archive)
    except DatasetError as error:
        assert str(error).startswith(f"{archive}: expected test to be a pickle of arrays")
    else:  # What it says beside the numbers is nothing to their reader.
        assert splits["test"].images.shape == (1, 32, 32, 3) and not splits["test"].images.any()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, f"{CIFAR}/test"),
        (tarfile.SYMTYPE, "test"),  # itself
        (tarfile.SYMTYPE, "train"),
        (tarfile.SYMTYPE, "../../../../etc/passwd"),
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, f"{CIFAR}/test"),  # itself
        (tarfile.LNKTYPE, f"{CIFAR}/train"),
        (tarfile.DIRTYPE, ""),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (tarfile.GNUTYPE_SPARSE, ""),
    ],
)
def test_only_a_plain_file_is_read_from_a_tar(
    cifar: Original, tmp_path: Path, kind: bytes, target: str
) -> None:
    member = tarfile.TarInfo(f"{CIFAR}/test")
    member.type, member.linkname = kind, target
    archive = _with_member(cifar, tmp_path, member)
    message = f"expected a file {CIFAR}/test, found a member of another kind$"
    assert_refused(cifar, tmp_path, archive, message)


def test_a_loop_of_two_links_is_refused(cifar: Original, tmp_path: Path) -> None:
    there, back = tarfile.TarInfo(f"{CIFAR}/test"), tarfile.TarInfo(f"{CIFAR}/other")
    there.type = back.type = tarfile.SYMTYPE
    there.linkname, back.linkname = "other", "test"
    archive = _with_member(cifar, tmp_path, there, back)
    assert_refused(cifar, tmp_path, archive, f"expected a file {CIFAR}/test, found a member of")


def test_a_name_that_stands_twice_is_refused(original: Original, tmp_path: Path) -> None:
    archive = original.write(tmp_path / "manual", original.members)
    name, content = next(
        (n, c) for n, c in original.members.items() if n.endswith(("test", "wnids.txt"))
    )
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
            file.writestr(name, content)
    else:
        member = tarfile.TarInfo(name)
        archive = _with_member(original, tmp_path, member, leave_out=())
    message = f"expected a complete .* file, found: 2 members of the name {name}$"
    assert_refused(original, tmp_path, archive, message)


def test_a_number_too_long_for_python_is_no_image(tiny: Original, tmp_path: Path) -> None:
    first = min(name for name in tiny.members if "/train/" in name and name.endswith("_2.JPEG"))
    long = first.replace("_2.JPEG", f"_{'1' * 5000}.JPEG")
    tiny.write(tmp_path / "manual", tiny.members | {long: tiny.members[first]})
    assert_same(load("tiny_imagenet", tmp_path), tiny.dataset)


def _without(original: Original, name: str) -> dict[str, object]:
    return {other: content for other, content in original.members.items() if other != name}


def _with_member(
    original: Original,
    data_dir: Path,
    *members: tarfile.TarInfo,
    leave_out: tuple[str, ...] | None = None,
) -> Path:
    """Write the original with further members, in the place of those of the same names."""
    names = tuple(member.name for member in members) if leave_out is None else leave_out
    kept = {name: content for name, content in original.members.items() if name not in names}
    path = original.write(data_dir / "manual", kept)
    unpacked = io.BytesIO(gzip.decompress(path.read_bytes()))
    with tarfile.open(fileobj=unpacked, mode="a") as file:
        for member in members:
            file.addfile(member)
    path.write_bytes(gzip.compress(unpacked.getvalue(), compresslevel=1))
    return path
