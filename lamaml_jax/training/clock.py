"""What measures time, where a caller wants time to be measured: the library reads no clock by itself."""

import contextlib
from collections.abc import Callable, Iterator


class Clock(dict[str, float]):
    """The seconds that "compile", "train" and "eval" took, by name.

    Args:
        timer: What tells the seconds since some moment, such as `time.perf_counter`; None leaves them at zero.

    Example:
        >>> import time
        >>> clock = Clock(time.perf_counter)
        >>> with clock.on("train"):
        ...     time.sleep(0.01)
        >>> clock["train"] >= 0.01, clock["eval"]
        (True, 0.0)
    """

    def __init__(self, timer: Callable[[], float] | None = None) -> None:
        """Begin with no seconds."""
        super().__init__(dict.fromkeys(_NAMES, 0.0))
        self._timer = timer

    def now(self) -> float:
        """Return the seconds since some moment; none pass without a timer."""
        return 0.0 if self._timer is None else self._timer()

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a name."""
        if self._timer is None:
            yield
            return
        start = self.now()
        yield
        self[name] += self.now() - start


_NAMES = ("compile", "train", "eval")
