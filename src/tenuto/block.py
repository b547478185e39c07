"""The block of an `async with` that can be ended from any thread: it is cancelled, as `asyncio.timeout` would do it."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["Block"]


class Block:
    """What the current task is about to enter."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._ended = self._left = False

    def end(self) -> None:
        """Cancels what runs in the block, unless it has been left. May be called from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has been left
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if not self._ended and not self._left:
            self._ended = self._task.cancel()

    def leave(self, error: BaseException | None) -> bool:
        """The block is over, by `error`; whether it is so because of `end`, and of nothing else."""
        self._left = True
        return self._ended and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)
