"""The store over the reference model: one lock, one transaction at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from tenuto.errors import StoreClosed
from tenuto.stores.base import Hint
from tenuto.stores.listeners import Listeners
from tenuto.stores.memory.tables import MemoryTables
from tenuto.stores.rules.store import RuledStore
from tenuto.stores.rules.work import Work
from tenuto.stores.tables import Tables
from tenuto.tasks.clock import Millis, wall_clock

__all__ = ["MemoryStore"]

T = TypeVar("T")


class MemoryStore(RuledStore):
    """A store in this process's memory, gone with it."""

    url = "memory://"

    def __init__(self, *, clock: Callable[[], Millis] = wall_clock) -> None:
        super().__init__()
        self._clock = clock
        self._tables = MemoryTables()
        self._lock = threading.Lock()
        self._listeners = Listeners()
        self._closed = False

    async def open(self, *, create: bool = True) -> None:
        self._closed = False

    async def close(self) -> None:
        self._closed = True

    async def _write(self, verb: Callable[[Work], T]) -> T:
        with self._lock:
            work = Work(self._at_present())
            answer = verb(work)
            hint = work.hint
        if hint is not None:
            self._listeners.call(hint)
        return answer

    async def _read(self, verb: Callable[[Tables], T]) -> T:
        with self._lock:
            return verb(self._at_present())

    def _at_present(self) -> MemoryTables:
        if self._closed:
            raise StoreClosed("the store memory:// was closed by this program: open it again, or keep it open")
        self._tables.time = max(self._tables.time, self._clock())
        return self._tables

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        return self._listeners.add(listener)
