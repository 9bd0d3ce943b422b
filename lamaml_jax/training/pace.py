"""How many batches are trained in one call, so that states can be kept about as often as is asked for."""

import sys

from lamaml_jax.training.clock import Clock

_CALLS_PER_CHECKPOINT = 4


class Pace:
    """Calls of a quarter of the time between two states, once it is known how long a batch takes."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        """Begin, with the seconds between two states; None where none are kept inside tasks."""
        self._clock, self._seconds = clock, seconds
        self._called = self._kept = clock.now()
        self._most = 1

    def most(self) -> int:
        """Return how many batches the next call should be of."""
        self._called = self._clock.now()
        return self._most

    def is_due(self, num_batches: int) -> bool:
        """Return whether a state is to be kept after a call of this many batches."""
        now = self._clock.now()
        per_batch = (now - self._called) / num_batches
        call = (60.0 if self._seconds is None else self._seconds) / _CALLS_PER_CHECKPOINT
        self._most = max(1, int(call / per_batch)) if per_batch else sys.maxsize
        # A clock that was set back says nothing of how long ago the last one was kept.
        if self._seconds is None or 0 <= now - self._kept < self._seconds:
            return False
        self._kept = now
        return True
