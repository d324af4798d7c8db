"""A stock of seconds for what a module does when it is loaded: training on import is stopped, a table is computed."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

# Seconds that the statements of one target may take together, imports of libraries aside: building a table of
# constants takes less, training takes more.
SECONDS = 5.0


class TooSlowError(BaseException):
    """Not an Exception: the user's handlers are not to catch it."""


class Clock:
    """A stock of seconds for statements that may take long."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._running = False

    @contextlib.contextmanager
    def limited(self, least: float = 0.0) -> Iterator[None]:
        """Raise TooSlowError inside the block when the stock is used up, but not before `least` seconds.

        That takes a timer, which only the main thread can have, and not on every system; elsewhere nothing is limited.
        """
        main = threading.current_thread() is threading.main_thread()
        if self._running or not main or not hasattr(signal, "setitimer"):
            yield
            return
        seconds = max(self.seconds, least)
        if seconds <= 0:
            raise TooSlowError
        start, before = time.monotonic(), signal.signal(signal.SIGALRM, self._ring)
        self._running = True
        # It rings again and again: a bare `except:` of the user's may swallow it once.
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
        try:
            yield
        finally:
            self._running = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            self.seconds -= time.monotonic() - start

    def _ring(self, number: int, frame: object) -> None:
        if self._running:
            raise TooSlowError
