"""FashionMNIST as a tfds dataset, in the version and with the features of tfds' own builder.

That one needs TensorFlow to prepare the data; what either has prepared, both can read. The four files have the names of
MNIST's, so they are looked for in a folder of their own, `<data_dir>/manual/fashion_mnist`. Debian's package
`dataset-fashion-mnist` has them in `/usr/share/datasets/fashion-mnist`, to be copied or linked there:

    mkdir -p DATA/manual && ln -s /usr/share/datasets/fashion-mnist DATA/manual/fashion_mnist
"""

import tensorflow_datasets as tfds

from lamaml_jax.datasets.idx_builder import IdxBuilder, idx_archives

_CITATION = """\
@article{xiao2017fashion,
  title={Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  author={Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  journal={arXiv preprint arXiv:1708.07747},
  year={2017}
}
"""
_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


# tfds has a dataset of this name in its registry, and allows no second one.
class Builder(IdxBuilder, skip_registration=True):  # type: ignore[call-arg]
    """FashionMNIST from its four IDX files, in their order."""

    VERSION = tfds.core.Version("3.0.1")
    ARCHIVES = idx_archives(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        folder="manual/fashion_mnist",
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return self._described(
            tfds.features.ClassLabel(names=_CLASSES),
            description="Zalando's article images in ten classes, of the size and number of MNIST's digits.",
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            citation=_CITATION,
            license="MIT",
        )
