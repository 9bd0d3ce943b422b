"""How long the parts of a run take."""

import contextlib
import time
from collections.abc import Iterator

from lamaml_jax import training


class Clock(training.Clock):
    """Seconds spent by name."""

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to `name`."""
        start = time.perf_counter()
        yield
        self[name] += time.perf_counter() - start
