"""Replies that wait until a test lets them go, in whatever thread and event loop they wait."""

from __future__ import annotations

import asyncio
import threading

from tenuto.testing.script import Reply

__all__ = ["Gates"]


class Gates:
    """What is held under a name passes when the name is opened; a gate that was opened stays so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: set[str] = set()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def open(self, name: str) -> None:
        """Lets pass what waits under `name`, now and later. From any thread."""
        with self._lock:
            self._opened.add(name)
            waiting = self._waiting.pop(name, [])
        for one in waiting:
            loop = one.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_pass, one)

    async def wait(self, reply: Reply) -> None:
        """Returns when `reply` may be sent: let go, and late as its script says. Never for one that is silent."""
        if reply.silent:
            await asyncio.Event().wait()
        if reply.hold:
            await self._passed(reply.hold)
        if reply.delay:
            await asyncio.sleep(reply.delay)

    async def _passed(self, name: str) -> None:
        with self._lock:
            if name in self._opened:
                return
            passed = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(name, []).append(passed)
        await passed


def _pass(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
