"""How long the parts of a run take."""

import contextlib
import time
from collections.abc import Iterator

from lamaml_jax import training


class Clock(training.Clock):
    """Seconds spent by name."""

    def now(self) -> float:
        """Return the seconds since some moment."""
        return time.perf_counter()

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to `name`."""
        start = self.now()
        yield
        self[name] += self.now() - start
