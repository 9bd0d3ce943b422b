"""Signals that ask a run to stop: it keeps its state first, and ends with a status that says that it is to go on."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

UNFINISHED = 75
"""The exit status of a run that was asked to stop and kept its state: EX_TEMPFAIL, as schedulers know it."""

_ASKING = (
    "SIGTERM",
    "SIGINT",
    "SIGUSR1",
)  # the last is what SLURM sends before a job's time is over


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Note in the block what asks to stop, instead of ending the process; the same signal again ends it at once.

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
