"""An event loop in a thread of its own, for blocking code that drives coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """Started when it is first needed; can be closed and started again. Safe from any thread but its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def here(self) -> bool:
        """Whether the caller runs on it."""
        return threading.current_thread() is self._thread

    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs `work` on it, waits, and returns its result. Raises `TimeoutError` after `timeout` seconds."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop())
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def soon(self, call: Callable[..., object], *arguments: Any) -> None:
        """Calls `call` on it; nothing happens when it does not run."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(call, *arguments)
            except RuntimeError:  # it has just been closed
                return

    def close(self, timeout: float) -> bool:
        """Ends it; False when something on it blocks, and its thread is left behind."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return True
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout)
        return not thread.is_alive()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
