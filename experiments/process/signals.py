"""Signals that ask a run to stop: it keeps its state first, and ends with a status that says that it is to go on."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

UNFINISHED = 75
"""The exit status of a run that was asked to stop and kept its state: EX_TEMPFAIL, as schedulers know it."""

SENTENCE = "stopped: what is kept stays, and the same command goes on."

_ASKING = (
    "SIGTERM",
    "SIGINT",
    "SIGUSR1",
)  # the last is what SLURM sends before a job's time is over


class Asked(BaseException):
    """A signal asked to stop where nothing is trained, as between two runs."""


def begin() -> None:
    """Have what asks to stop, Ctrl-C apart, end the process with a sentence and its status, while it imports."""
    for number in _others():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Have what asks to stop, Ctrl-C apart, raise `Asked` in the block, where a script has begun with `begin`."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        if asked:
            os._exit(128 + number)
        asked.append(number)
        raise Asked

    ours = [number for number in _others() if signal.getsignal(number) is _end]
    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, _end)


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Note in the block what asks to stop, instead of ending the process; the same signal again ends it at once.

    What asked too late for the block to see it is heard after it.

    Yields:
        Whether to stop.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # which alone may take signals
        yield lambda: False
        return

    def note(number: int, frame: Any) -> None:
        if number in asked:
            os._exit(128 + number)
        asked.append(number)
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping: the state is kept first; the same once more ends at once.\n")

    before = {
        number: signal.signal(number, note)
        for name in _ASKING
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in asked[:1]:
        signal.raise_signal(number)


def _others() -> list[int]:
    """Return the signals that ask to stop, but for Ctrl-C's."""
    return [getattr(signal, name) for name in _ASKING if name != "SIGINT" and hasattr(signal, name)]


def _end(*_: Any) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"\n{SENTENCE}\n".encode())
    os._exit(UNFINISHED)
