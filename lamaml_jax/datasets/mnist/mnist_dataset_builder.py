"""MNIST as a tfds dataset, in the version and with the features of tfds' own builder.

That one needs TensorFlow to prepare the data; what either has prepared, both can read.
"""

import tensorflow_datasets as tfds

from lamaml_jax.datasets.idx_builder import IdxBuilder, idx_archives

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
class Builder(IdxBuilder, skip_registration=True):  # type: ignore[call-arg]
    """MNIST from its four IDX files, in their order."""

    VERSION = tfds.core.Version("3.0.1")
    ARCHIVES = idx_archives("https://storage.googleapis.com/cvdf-datasets/mnist/")

    def _info(self) -> tfds.core.DatasetInfo:
        return self._described(
            tfds.features.ClassLabel(num_classes=10),
            description="The MNIST database of handwritten digits.",
            homepage="http://yann.lecun.com/exdb/mnist/",
            citation=_CITATION,
            license="CC BY-SA 3.0",
        )
