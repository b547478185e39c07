"""How many agents run at once, and who is next. Usable alone.

    pool = WorkerPoolScheduler(2, start=launch)
    for name in ("a", "b", "c"):
        pool.submit(name)                   # launches a and b
    pool.release("a")                       # launches c

Agents that wait are started first-in-first-out. One that may not start yet (`may_start`: what it depends on is not
ready) keeps its place, holds no slot, and lets others by.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from tenuto.errors import Conflict, InvalidInput

__all__ = ["WorkerPoolScheduler"]


class WorkerPoolScheduler:
    """At most `max_workers` agents at once. Safe from any thread."""

    def __init__(
        self,
        max_workers: int,
        start: Callable[[str], None] | None = None,
        may_start: Callable[[str], bool] | None = None,
    ) -> None:
        """start: launches the agent of that name; called outside of any lock, by whoever made a slot free."""
        self.max_workers = _count(max_workers)
        self._start = start
        self._may_start = may_start
        self._lock = threading.RLock()  # `candidates` may look at who runs
        self._queue: dict[str, bool] = {}
        self._running: dict[str, bool] = {}
        """by name: whether it takes a slot"""

    def bind(self, start: Callable[[str], None], may_start: Callable[[str], bool]) -> None:
        """What the supervisor gives a pool that was made without."""
        self._start = start
        self._may_start = may_start

    @property
    def queued(self) -> Sequence[str]:
        """Who waits, the next one first."""
        with self._lock:
            return tuple(self._queue)

    @property
    def running(self) -> Sequence[str]:
        """Who was started and has not ended."""
        with self._lock:
            return tuple(self._running)

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        with self._lock:
            return self.max_workers - sum(self._running.values())

    def submit(self, name: str, *, counted: bool = True) -> None:
        """Starts `name` as soon as it may start and there is a slot, which it does not need unless `counted`.

        Raises `Conflict` when it waits or runs already.
        """
        with self._lock:
            if name in self._queue or name in self._running:
                raise Conflict(f"agent {name!r} is {'queued' if name in self._queue else 'running'} already")
            self._queue[name] = counted
        self.schedule()

    def withdraw(self, name: str) -> bool:
        """Takes `name` out of the queue; False when it was not in it."""
        with self._lock:
            return self._queue.pop(name, None) is not None

    def release(self, name: str) -> None:
        """`name` has ended: its slot goes to the next. Does nothing when it had not been started."""
        with self._lock:
            known = self._running.pop(name, None) is not None
        if known:
            self.schedule()

    def resize(self, max_workers: int) -> None:
        """Changes the limit; agents that run stay."""
        self.max_workers = _count(max_workers)
        self.schedule()

    def schedule(self) -> None:
        """Starts all who can be started now. To be called when one that was not to start may."""
        while (name := self._next()) is not None:
            if self._start is not None:
                self._start(name)

    def candidates(self, queued: Sequence[str]) -> Sequence[str]:
        """Who waits, in the order in which they are to start. Override it for another one; it must not wait."""
        return queued

    def _next(self) -> str | None:
        with self._lock:
            full = sum(self._running.values()) >= self.max_workers
            if full and all(self._queue.values()):
                return None
            for name in self.candidates(tuple(self._queue)):
                counted = self._queue[name]
                if (full and counted) or not (self._may_start is None or self._may_start(name)):
                    continue
                del self._queue[name]
                self._running[name] = counted
                return name
            return None


def _count(value: int) -> int:
    max_workers: Any = value
    if isinstance(max_workers, bool) or not isinstance(max_workers, int) or not 1 <= max_workers <= 100_000:
        raise InvalidInput(f"max_workers must be a whole number from 1 to 100,000, not {max_workers!r}")
    return value
