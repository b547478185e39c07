"""What servers of the tests have in common: an event loop in a thread of its own, which listens."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable

from tenuto.testing.listening import stop_listening

__all__ = ["Listener"]

LIMIT = 60
"""Seconds that it may take to begin, and to end."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Listens on 127.0.0.1 from `start` to `stop`."""

    def __init__(self, name: str, serve: Serve, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """name: of the thread. serve: called there for each connection. port: 0 for a free one. tls: its key."""
        self._serve, self._port, self._tls = serve, port, tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def start(self) -> int:
        """Listens; on which port."""
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(LIMIT)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Ends it, with all that its connections are at."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(LIMIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT)
        self._loop.close()

    async def _end(self) -> None:
        await stop_listening(self._server)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
