"""What datasets in MNIST's four IDX files share as tfds datasets, prepared without TensorFlow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds

from lamaml_jax.datasets.archives import Archives, locate
from lamaml_jax.datasets.idx import read_pair
from lamaml_jax.datasets.png import png

_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_archives(url: str, folder: str = "manual") -> Archives:
    """Return the four files, gzipped or not, of a dataset; see `Archives`."""
    return Archives(_NAMES, suffixes=("", ".gz"), url=url, folder=folder)


class IdxBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Images of 28x28 in ten classes from four IDX files, in their order; a dataset adds its `_info`."""

    ARCHIVES: Archives

    def _described(self, label: tfds.features.ClassLabel, **facts: Any) -> tfds.core.DatasetInfo:
        """Return the dataset's info, of which `facts` are description, homepage, citation and licence."""
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(28, 28, 1)), "label": label}
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
            **facts,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        paths = locate(self.ARCHIVES, Path(self.data_dir_root), dl_manager)
        train_images, train_labels, test_images, test_labels = (
            paths[name] for name in self.ARCHIVES.names
        )
        # Both are read, and thereby checked, before tfds asks for the first example of either.
        train, test = read_pair(train_images, train_labels), read_pair(test_images, test_labels)
        return {
            "train": self._generate_examples(*train),
            "test": self._generate_examples(*test),
        }

    def _generate_examples(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": png(image), "label": int(label)}
