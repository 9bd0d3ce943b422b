"""What a script does before its imports, which take seconds; so this file imports nothing that takes long."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from experiments.process import signals

INTERRUPTED = 130
"""What a shell reports of a process that Ctrl-C ended."""

SENTENCE = "interrupted: the same command goes on after the last task saved."


def begin() -> None:
    """Have signals that ask to stop end the process with one sentence, and take away what would fail an import.

    tqdm reads its settings when it is imported, and those that it cannot read fail it then, or the first bar; so it
    gets none but whether to show bars.
    """
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # not where it is to be ignored
        signal.signal(signal.SIGINT, _end)
    signals.begin()
    for name in [n for n in os.environ if n.startswith("TQDM_") and n != "TQDM_DISABLE"]:
        del os.environ[name]


@contextlib.contextmanager
def raising_interrupts() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt in the block, so that what is open there is closed."""
    ours = signal.getsignal(signal.SIGINT) is _end
    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, _end)


def _end(*_: Any) -> None:
    with contextlib.suppress(Exception):  # as a signal comes while a stream writes
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"\n{SENTENCE}\n".encode())
    os._exit(INTERRUPTED)
