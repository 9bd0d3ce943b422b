"""TinyImageNet's archive, whose images are read where they lie: nothing is unpacked to disk."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from lamaml_jax.datasets.image_dataset import DatasetError
from lamaml_jax.datasets.reading import check_once, expecting, read_at_most

NUM_CLASSES, SIDE = 200, 64
_ROOT = "tiny-imagenet-200"
_MOST_BYTES = 2**20  # of any file that is read: images have some 2 KB, the annotations 400
_TRAIN = re.compile(rf"{_ROOT}/train/(?P<wnid>[^/]+)/images/[^/]+_(?P<number>\d{{1,9}})\.JPEG")


class Members(NamedTuple):
    """Images of one split by their names in the archive, with their labels in [0, 200)."""

    path: Path
    labels: dict[str, int]

    def read(self) -> Iterator[tuple[bytes, int]]:
        """Read the images one by one, as the JPEG files that they are.

        Raises:
            DatasetError: naming the archive and the image, if one is damaged.
        """
        with zipfile.ZipFile(self.path) as archive:
            for name, label in self.labels.items():
                yield _checked_image(self.path, archive, name), label


def list_members(path: Path) -> dict[str, Members]:
    """List the images of the "train" and the "test" split, the latter from the folder `val`.

    Args:
        path: tiny-imagenet-200.zip, with any number of images per class.

    Raises:
        DatasetError: naming the file and what was expected, if it is truncated or corrupt, or not
            every class has images in both splits.
    """
    with expecting(path, "a complete zip file"), zipfile.ZipFile(path) as archive:
        check_once(archive.namelist())
        names = set(archive.namelist())
        wnids = sorted(_text(path, archive, "wnids.txt").split())
        annotations = _text(path, archive, "val/val_annotations.txt").splitlines()
    if len(set(wnids)) != NUM_CLASSES or len(wnids) != NUM_CLASSES:
        raise DatasetError(
            f"{path}: expected {NUM_CLASSES} different classes in wnids.txt, found {len(wnids)}"
        )
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    splits = {
        "train": _train_images(names, label_of),
        "test": _test_images(path, names, annotations, label_of),
    }
    for split, labels in splits.items():
        if missing := sorted(set(label_of.values()) - set(labels.values())):
            raise DatasetError(
                f"{path}: expected {split} images of every class, found none of {wnids[missing[0]]}"
            )
    return {split: Members(path, labels) for split, labels in splits.items()}


def _text(path: Path, archive: zipfile.ZipFile, name: str) -> str:
    if f"{_ROOT}/{name}" not in archive.NameToInfo:
        raise DatasetError(f"{path}: expected a file {_ROOT}/{name}, found none")
    with expecting(path, f"{name} to be text"):
        return _content(archive, f"{_ROOT}/{name}").decode()


def _train_images(names: set[str], label_of: dict[str, int]) -> dict[str, int]:
    found = [match for match in map(_TRAIN.fullmatch, names) if match and match["wnid"] in label_of]
    found.sort(key=lambda match: (match["wnid"], int(match["number"]), match.string))
    return {match.string: label_of[match["wnid"]] for match in found}


def _test_images(
    path: Path, names: set[str], annotations: list[str], label_of: dict[str, int]
) -> dict[str, int]:
    labels = {}
    for line in annotations:
        file, _, rest = line.partition("\t")
        name, wnid = f"{_ROOT}/val/images/{file}", rest.partition("\t")[0]
        if name not in names or wnid not in label_of:
            raise DatasetError(
                f"{path}: expected every line of val_annotations.txt to name an image and its class, found {line!r}"
            )
        labels[name] = label_of[wnid]
    return labels


def _checked_image(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    with expecting(path, f"an image in {name}"):
        content = _content(archive, name)
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            size = picture.size
            if size == (SIDE, SIDE):
                picture.load()  # Opening it reads no more than its header.
    if size != (SIDE, SIDE):
        raise DatasetError(f"{path}: expected {name} to be {SIDE}x{SIDE}, found {size}")
    return content


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a packing whose size Python cannot bound")
    with archive.open(member) as file:
        return read_at_most(file, _MOST_BYTES, member.file_size)
