"""A finished run's configuration, from its work directory."""

from collections.abc import Sequence

from experiments.process import console
from experiments.runs import workdirs
from experiments.runs.config import Config


def config(argv: Sequence[str]) -> Config:
    """Return the configuration of the finished run that a script's one argument names.

    Raises:
        ValueError: There is another number of arguments, or no finished run.
    """
    if len(argv) != 2:
        raise ValueError(f"{len(argv) - 1} folders are given; it must be one, of a finished run.")
    folder = console.path("run", argv[1])
    if workdirs.read_summary(folder) is None:
        raise ValueError(f"run is {str(folder)!r}, which holds no finished run.")
    settings = workdirs.read_settings(folder)
    tuples = {name: tuple(settings[name]) for name in ("seeds", "points")}
    return Config(**settings | tuples)
