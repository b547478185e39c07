"""Threads for sync functions, so that a slow one does not stop its worker's event loop.

A thread cannot be killed. When the task that waits for a call is cancelled, the call's thread is *abandoned*: its
result will be ignored, another thread may take its place, and it counts in `abandoned` until the call returns.
The threads are daemons, so an abandoned one does not keep the process alive, as those of
`concurrent.futures.ThreadPoolExecutor` would.

Results travel back in batches: one wake-up of the event loop for all calls that ended meanwhile.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Threads"]

T = TypeVar("T")

_NOT_CARRIED = (StopIteration, SystemExit, KeyboardInterrupt)
"""What a future cannot carry, or would end the whole event loop. Ctrl-C never reaches a thread: the call made it."""


class _Call:
    """One call on its way."""

    __slots__ = ("abandoned", "context", "dropped", "error", "future", "result", "returned", "work")

    def __init__(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.context = contextvars.copy_context()
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.dropped = False
        self.returned = False
        """the loop has taken note of its end"""
        self.abandoned = False


class Threads:
    """At most `size` threads that are not abandoned, started when first needed. Belongs to one event loop."""

    def __init__(self, size: int, name: str) -> None:
        self.abandoned = 0
        """threads whose call nobody waits for any more"""
        self._size = size
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._ended: deque[_Call] = deque()
        self._alive = 0
        self._unfinished = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awake = False
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Calls `work` in a thread, with the caller's context variables; returns or raises what it does."""
        loop = self._loop = asyncio.get_running_loop()
        call = _Call(work, loop.create_future())
        self._unfinished += 1
        self._calls.put(call)
        self._grow()
        try:
            return await call.future  # type: ignore[no-any-return]  # the future of exactly this call
        except asyncio.CancelledError:
            if not call.returned:  # else it was cancelled between the call's end and its own next step
                call.dropped = call.abandoned = True
                self.abandoned += 1
                self._grow()
            raise

    def _grow(self) -> None:
        if self._unfinished > self._alive and self._alive - self.abandoned < self._size and not self._closed:
            self._alive += 1
            threading.Thread(target=self._serve, name=f"{self._name}-{self._alive}", daemon=True).start()

    def close(self) -> None:
        """Lets idle threads end; busy ones end after their call."""
        self._closed = True
        for _ in range(self._alive):
            self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            if not call.dropped:
                try:
                    call.result = call.context.run(call.work)
                except _NOT_CARRIED as error:
                    call.error = RuntimeError(f"the function raised {error!r}")
                except BaseException as error:  # noqa: BLE001 - it is raised again where the call is awaited
                    call.error = error
            self._ended.append(call)
            del call
            self._wake()

    def _wake(self) -> None:
        if self._awake or self._loop is None:
            return
        self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: nobody waits for results any more
            self._awake = False

    def _deliver(self) -> None:
        self._awake = False  # before looking: what ends from here on wakes us again
        while self._ended:
            call = self._ended.popleft()
            self._unfinished -= 1
            call.returned = True
            if call.abandoned:
                self.abandoned -= 1
            if call.future.done():
                continue
            if call.error is not None:
                call.future.set_exception(call.error)
            else:
                call.future.set_result(call.result)
