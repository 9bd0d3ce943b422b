"""The training script in this process."""

from absl import flags
from absl.testing import flagsaver
from helpers import compiling_quickly

from experiments import train


def run_train(*arguments: str) -> None:
    """Run the script with these flags, which leave no trace."""
    with flagsaver.flagsaver(), compiling_quickly():
        flags.FLAGS.unparse_flags()
        train.main(flags.FLAGS(["train", *arguments]))
