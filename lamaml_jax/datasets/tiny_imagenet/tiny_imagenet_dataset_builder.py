"""TinyImageNet-200 as a tfds dataset: 200 classes of 64x64 photographs, prepared without TensorFlow.

Its labelled validation images are the "test" split; the unlabelled test images of the archive are not used.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from lamaml_jax.datasets.archives import Archives, locate
from lamaml_jax.datasets.tiny_imagenet.archive import NUM_CLASSES, SIDE, Members, list_members

_CITATION = """\
@article{le2015tiny,
  title={Tiny ImageNet visual recognition challenge},
  author={Le, Ya and Yang, Xuan},
  journal={CS 231N},
  year={2015}
}
"""


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """TinyImageNet-200 from its archive, the classes in the order of their WordNet ids."""

    name = "tiny_imagenet"
    VERSION = tfds.core.Version("1.0.0")
    ARCHIVES = Archives(
        names=("tiny-imagenet-200.zip",), suffixes=("",), url="http://cs231n.stanford.edu/"
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs of 200 classes of ImageNet, scaled down.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://cs231n.stanford.edu/",
            citation=_CITATION,
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        paths = locate(self.ARCHIVES, Path(self.data_dir_root), dl_manager)
        # Both are listed, and thereby checked, before tfds asks for the first example of either.
        splits = list_members(paths[self.ARCHIVES.names[0]])
        return {name: self._generate_examples(members) for name, members in splits.items()}

    def _generate_examples(self, members: Members) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (jpeg, label) in enumerate(members.read()):
            yield index, {"image": io.BytesIO(jpeg), "label": label}
