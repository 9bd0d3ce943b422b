"""A finished run's configuration, from its work directory, and a process like the run's."""

from collections.abc import Sequence

from experiments.process import backend, console
from experiments.runs import workdirs
from experiments.runs.config import Config


def set_up(argv: Sequence[str]) -> None:
    """Set the process of a script up as that of the run which its argument names was."""
    console.prepare()
    with console.plain_errors():
        of = config(argv)
        backend.configure(of.benchmark, len(of.runs().each()))


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
