"""Agents whose hooks are coroutines, many of them on one event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from tenuto.supervisor.agents.base import ON_STOP, WAKE, BaseAgent
from tenuto.supervisor.entry import Executor

__all__ = ["BaseAsyncAgent"]


class BaseAsyncAgent(BaseAgent):
    """An agent on an event loop that it shares with the others of its kind. Its hooks are coroutines, and must not
    block."""

    executor: ClassVar[Executor | None] = "async"
    asynchronous: ClassVar[bool] = True

    async def setup(self) -> None:
        """Awaited once; when it returns, the agent counts as ready, and what depends on it may start."""

    async def execute(self) -> None:
        """The agent's work. When it returns, the agent ends."""

    async def on_stop(self) -> None:
        """Awaited once when somebody asks it to stop, while `execute` still runs."""

    async def on_close(self) -> None:
        """Awaited last, however the agent ends."""

    async def wait(self, seconds: float | None = None) -> bool:
        """Waits for `seconds`, or until it is asked to stop; says whether it was."""
        try:
            async with asyncio.timeout(seconds):
                await self.stop_event.wait()
        except TimeoutError:
            return False
        return True

    async def receive_message(self, timeout: float | None = None) -> Any:
        """The next message of the orchestrator; None when there was none for `timeout` seconds, or it is to stop."""
        try:
            async with asyncio.timeout(timeout):
                while not self._stop_asked or not self._inbox.empty():
                    arrived = await self._inbox.get()
                    if arrived is not WAKE:
                        return arrived
        except TimeoutError:
            pass
        return None

    async def run_hook(self, hook: Callable[[], Any]) -> Any:
        """Calls a hook, and awaits it where it is a coroutine."""
        found = hook()
        await asyncio.sleep(0)  # others get their turn, whatever the hook does
        return await found if inspect.isawaitable(found) else found

    async def pause(self, seconds: float) -> bool:
        """`wait`, in code that all kinds of agents share."""
        return await self.wait(seconds)

    async def after_on_stop(self) -> None:
        """Waits for an `on_stop` that runs; not for ever."""
        if self._stopper is not None:
            await asyncio.wait([self._stopper], timeout=ON_STOP)

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.stop_event = asyncio.Event()
        self._inbox = asyncio.Queue()
        self._stopper = None

    def _arrived(self, content: Any) -> None:
        self._soon(self._inbox.put_nowait, content)

    def _stop(self) -> None:
        self._soon(self._stop_here)

    def _soon(self, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # its loop is closed: it has ended
            return

    def _stop_here(self) -> None:
        self._stopper = self._loop.create_task(self._on_stop_here())
        self.stop_event.set()
        self._inbox.put_nowait(WAKE)

    async def _on_stop_here(self) -> None:
        try:
            await self.run_hook(self.on_stop)
        except Exception as error:  # noqa: BLE001 - it is reported, and the agent goes on ending
            self.tell_error(error, "on_stop", recoverable=True)
