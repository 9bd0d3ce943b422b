"""CIFAR-100 as a tfds dataset, in the version and with the features of tfds' own builder.

That one needs TensorFlow to prepare the data, and the archive of binary files; this one takes the archive for Python.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from lamaml_jax.datasets.archives import Archives, locate
from lamaml_jax.datasets.cifar100.archive import SIDE, Split, read_splits
from lamaml_jax.datasets.png import png

_CITATION = """\
@techreport{krizhevsky2009learning,
  title={Learning multiple layers of features from tiny images},
  author={Krizhevsky, Alex},
  institution={University of Toronto},
  year={2009}
}
"""


# tfds has a dataset of this name in its registry, and allows no second one.
class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR-100 from its archive for Python, in its order."""

    VERSION = tfds.core.Version("3.0.2")
    ARCHIVES = Archives(
        names=("cifar-100-python.tar.gz",),
        suffixes=("",),
        url="https://www.cs.toronto.edu/~kriz/",
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Small photographs of 100 classes in 20 superclasses.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 3)),
                    "label": tfds.features.ClassLabel(num_classes=100),
                    "coarse_label": tfds.features.ClassLabel(num_classes=20),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
            citation=_CITATION,
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        paths = locate(self.ARCHIVES, Path(self.data_dir_root), dl_manager)
        # Both are read, and thereby checked, before tfds asks for the first example of either.
        splits = read_splits(paths[self.ARCHIVES.names[0]])
        return {name: self._generate_examples(name, split) for name, split in splits.items()}

    def _generate_examples(self, name: str, split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label, superclass) in enumerate(zip(*split, strict=True)):
            yield (
                index,
                {
                    "id": f"{name}_{index:05d}",
                    "image": png(image),
                    "label": int(label),
                    "coarse_label": int(superclass),
                },
            )
