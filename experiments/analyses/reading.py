"""What the folders of finished analyses say, whichever analysis it is."""

import pathlib
from collections.abc import Callable

from experiments.analyses import alignment, equivalence, folder, robustness, time_accuracy
from experiments.analyses.folder import About, Part

Reader = Callable[[pathlib.Path, About], list[Part]]

ANALYSES: dict[str, tuple[str, Reader]] = {
    "alignment": ("Alignment of gradients", alignment.read),
    "equivalence": ("What looking ahead rewards", equivalence.read),
    "robustness": ("Robustness to learning rates", robustness.read),
    "time_accuracy": ("Accuracy against cost", time_accuracy.read),
}
"""By name what readers call an analysis, and what reads the parts that its script has shown."""


def read(root: pathlib.Path) -> tuple[str, About, list[Part]]:
    """Return what an analysis is called, what it is of, and its parts.

    Raises:
        ValueError: It is not known, not finished or damaged.
    """
    about = folder.read(root)
    if about.analysis not in ANALYSES:
        raise ValueError(f"{root / folder.FILE} is of an analysis that is not known here.")
    title, reader = ANALYSES[about.analysis]
    if not about.finished:
        raise ValueError(
            f"{root} holds an analysis of {about.analysis} that is not finished; the same command goes on with it."
        )
    try:
        return title, about, reader(root, about)
    except (OSError, ValueError) as error:
        reason = str(error)
    except (KeyError, TypeError, IndexError, AttributeError):
        reason = "a number or an array is missing"
    raise ValueError(f"{root} holds an analysis of {about.analysis} that is damaged: {reason}")
