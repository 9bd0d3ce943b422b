"""MNIST as a tfds dataset, in the version and with the features of tfds' own builder.

That one needs TensorFlow to prepare the data; what either has prepared, both can read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds

from lamaml_jax.datasets.archives import Archives, locate
from lamaml_jax.datasets.idx import read_pair
from lamaml_jax.datasets.png import png

_CITATION = """\
@article{lecun2010mnist,
  title={MNIST handwritten digit database},
  author={LeCun, Yann and Cortes, Corinna and Burges, CJ},
  journal={ATT Labs [Online]. Available: http://yann.lecun.com/exdb/mnist},
  volume={2},
  year={2010}
}
"""


# tfds has a dataset of this name in its registry, and allows no second one.
class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """MNIST from its four IDX files, in their order."""

    VERSION = tfds.core.Version("3.0.1")
    ARCHIVES = Archives(
        names=(
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        ),
        suffixes=("", ".gz"),
        url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The MNIST database of handwritten digits.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://yann.lecun.com/exdb/mnist/",
            citation=_CITATION,
            license="CC BY-SA 3.0",
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        paths = locate(self.ARCHIVES, Path(self.data_dir_root) / "manual", dl_manager)
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
