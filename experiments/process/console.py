"""What every script owes the shell that it was called from: output that never costs results, errors in one sentence."""

import atexit
import contextlib
import os
import pathlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

from absl import logging

from experiments.process import signals, startup
from experiments.runs import users
from lamaml_jax.datasets import DatasetError
from lamaml_jax.training import Interrupted


def prepare() -> None:
    """Take from the surroundings what a script can live with, before it does anything else.

    Output does not fail on letters that it cannot encode, nor when its reader goes away; pictures need no screen.
    """
    os.environ["MPLBACKEND"] = "agg"  # what is set may not exist, which fails matplotlib's import
    logging.set_verbosity(logging.WARNING)  # JAX tells of every kind of device that is not there
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    sys.stdout, sys.stderr = _Lasting(sys.stdout), _Lasting(sys.stderr)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """End the process with one sentence and a status where the block fails for a reason that users can mend."""
    try:
        with startup.raising_interrupts(), signals.raising():
            yield
    except KeyboardInterrupt:
        _end_at_once(startup.SENTENCE, startup.INTERRUPTED)
    except signals.Asked:
        _end_at_once(signals.SENTENCE, signals.UNFINISHED)
    except Interrupted as stopped:
        done, batches = stopped.place
        where = f" and {batches} batches of the next" if batches else ""
        print(
            f"stopped after {done} tasks{where}; the state is kept in {stopped.folder}, and the same command goes on.",
            file=sys.stderr,
        )
        sys.exit(signals.UNFINISHED)
    except (ValueError, OSError, DatasetError) as error:
        where = users.place(error)
        print(f"error: {where}: {error}" if where else f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:  # of any kind where it comes from a user's file
        if not (where := users.place(error)):
            raise
        print(f"error: {where}: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)


@contextlib.contextmanager
def only_warned(what: str) -> Iterator[None]:
    """Let the block fail with no more than a line that says `what` is missing."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"warning: {what}: {reason}", file=sys.stderr)


def path(name: str, text: str) -> pathlib.Path:
    """Return the path that a flag gives, `~` standing for the user's home as in a shell.

    Raises:
        ValueError: There is no such home.
    """
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{name} is {text!r}; it must be a path, and there is no home for ~."
        ) from None


def _end_at_once(sentence: str, status: int) -> NoReturn:
    print(f"\n{sentence}", file=sys.stderr)
    sys.stdout.flush()
    # JAX would wait for the program that is running; files are whole at any time.
    atexit.register(os._exit, status)
    sys.exit(status)


class _Lasting:
    """A text stream that takes all that is written; what its end cannot take is lost, and nothing else."""

    def __init__(self, stream: TextIO | None) -> None:
        # The interpreter has no stream where the shell closed it.
        self._stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        with self._to_nowhere_after_errors():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._to_nowhere_after_errors():
            self._stream.flush()

    @contextlib.contextmanager
    def _to_nowhere_after_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is still buffered would fail again when the process ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError) and self is not sys.stderr:
                print(f"warning: the output is lost: {error.strerror}", file=sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
