"""How a server stops to listen without leaving a connection half made.

asyncio accepts a connection in one step of its loop and makes it in the next. Where its server is closed in between,
it can do neither (CPython: `Server._attach` fails), and the connection stays open with nobody to close it.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

__all__ = ["stop_listening"]

_STEPS = 5
"""Of the event loop, until whoever was let in last has been passed on."""


async def stop_listening(server: asyncio.Server) -> None:
    """Closes `server`. Each connection that it has accepted was passed on by then."""
    while any(map(_is_half_made, asyncio.all_tasks())):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    server.close()
    for _ in range(_STEPS):
        await asyncio.sleep(0)


def _is_half_made(task: asyncio.Task[Any]) -> bool:
    making: Any = task.get_coro()
    if "accept_connection" not in getattr(making, "__qualname__", ""):
        return False
    return inspect.getcoroutinestate(making) == inspect.CORO_CREATED
