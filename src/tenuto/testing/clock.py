"""A clock for tests: it stands still until it is moved."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from tenuto.tasks.clock import Millis, duration, instant

__all__ = ["VirtualClock"]


class VirtualClock:
    """The time that stores take as their `clock`, moved by the test alone.

        clock = VirtualClock()
        async with open_store("memory://", clock=clock) as store:
            ...
            clock.advance(3600)   # an hour later: leases have ended, retries and schedules are due

    A store on a server takes it as well, in place of the server's own clock. What waits by the machine's clock, a
    worker between two looks for work for instance, does not see it move: give it a short `poll_interval`, or wake it.
    """

    def __init__(self, start: float | datetime = 1_750_000_000) -> None:
        """`start`: Unix seconds, an instant in 2025 by default, or an aware `datetime`. Raises `InvalidInput`."""
        self._now = instant(start, "start")
        self._lock = threading.Lock()

    @property
    def now(self) -> Millis:
        """Milliseconds since 1970."""
        return self._now

    def __call__(self) -> Millis:
        return self._now

    def advance(self, seconds: float | timedelta) -> Millis:
        """Moves the clock forward, and gives the new time in milliseconds. Raises `InvalidInput` for a step back."""
        with self._lock:
            self._now += duration(seconds, "seconds")
            return self._now
