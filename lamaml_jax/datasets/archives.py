"""The files that a dataset is prepared from: found in a folder, or downloaded."""

from pathlib import Path
from typing import Any, NamedTuple

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from lamaml_jax.datasets.image_dataset import DatasetError

_PROBE_SECONDS = 10


class Archives(NamedTuple):
    """The files that a dataset is prepared from.

    Attributes:
        names: file names without the optional suffix.
        suffixes: what may follow each name, the one that is downloaded last.
        url: address of the folder to download from, with a closing slash.
        folder: where a user puts them by hand, below the data folder.
    """

    names: tuple[str, ...]
    suffixes: tuple[str, ...]
    url: str
    folder: str = "manual"


def locate(archives: Archives, data_dir: Path, dl_manager: Any) -> dict[str, Path]:
    """Return the archives' paths, downloading them if their folder has none.

    Args:
        archives: which files.
        data_dir: the data folder; need not have the archives' folder.
        dl_manager: the tfds download manager, which verifies the checksums that tfds knows.

    Returns:
        `{name: path}` for every name.

    Raises:
        DatasetError: if only some are in the folder, or none is and they cannot be downloaded.
    """
    return find(archives, data_dir) or _download(archives, data_dir, dl_manager)


def find(archives: Archives, data_dir: Path) -> dict[str, Path]:
    """Return the archives' paths in their folder: all of them, or an empty dict.

    Args:
        archives: which files.
        data_dir: the data folder; need not have the archives' folder.

    Returns:
        `{name: path}` for every name, or `{}` if the folder has none of them.

    Raises:
        DatasetError: if only some are there.
    """
    folder = data_dir / archives.folder
    found = {
        name: path
        for name in archives.names
        for suffix in archives.suffixes
        if (path := folder / (name + suffix)).is_file()
    }
    missing = [name for name in archives.names if name not in found]
    if found and missing:
        raise DatasetError(
            f"{folder} holds only some of the archives: add {_listed(missing, archives.suffixes)}"
        )
    return found


def _download(archives: Archives, data_dir: Path, dl_manager: Any) -> dict[str, Path]:
    urls = {name: archives.url + name + archives.suffixes[-1] for name in archives.names}
    try:
        # tfds retries for minutes where there is no network: ask once before.
        probe = next(iter(urls.values()))
        with requests.get(probe, stream=True, timeout=_PROBE_SECONDS) as response:
            response.raise_for_status()
        paths = dl_manager.download(urls)
    except (OSError, tfds.download.DownloadError, NonMatchingChecksumError) as error:
        raise DatasetError(
            f"nothing is prepared and the download from {archives.url} failed "
            f"({type(error).__name__}): put {_listed(archives.names, archives.suffixes)} "
            f"into {data_dir / archives.folder}"
        ) from error
    return {name: Path(path) for name, path in paths.items()}


def _listed(names: tuple[str, ...] | list[str], suffixes: tuple[str, ...]) -> str:
    optional = " or ".join(suffix for suffix in suffixes if suffix)
    return ", ".join(names) + (f" (with or without {optional})" if optional else "")
