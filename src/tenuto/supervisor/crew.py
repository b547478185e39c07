"""Threads that carry out what a loop must not wait for.

Started when they are needed and never more than allowed. They are daemons, unlike those of `ThreadPoolExecutor`: an
agent that takes for ever to stop must not keep the interpreter from ending.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from tenuto.observability.logging import logger

__all__ = ["Crew"]

log = logger("tenuto.supervisor")


class Crew:
    """At most `size` threads, and at most `waiting` calls that wait for one."""

    def __init__(self, name: str, size: int, waiting: int) -> None:
        self._name = name
        self._size = size
        self._waiting = waiting
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._closed = False

    def give(self, call: Callable[[], None]) -> bool:
        """Hands over a call; False when too many wait. For one thread."""
        if self._closed or self._calls.qsize() >= self._waiting:
            return False
        self._calls.put(call)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            number = len(self._threads) + 1
            thread = threading.Thread(target=self._serve, name=f"tenuto {self._name} {number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return True

    def close(self) -> None:
        """Lets each thread end when its call has returned; calls that wait are dropped."""
        self._closed = True
        for _ in self._threads:
            self._calls.put(None)

    def _serve(self) -> None:
        while True:
            call = self._calls.get()
            if call is None or self._closed:
                return
            try:
                call()
            except BaseException:  # the thread is there for the next call
                log.exception("a command's thread has met an error", crew=self._name)
            self._idle.release()
