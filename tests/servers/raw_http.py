"""A server that reads a request over HTTP and answers with any bytes at all, over TLS or not.

with RawHttp(b"HTTP/1.1 200 OK\\r\\n\\r\\nno JSON") as server:
    url = server.url
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from types import TracebackType
from typing import Self

from tenuto.testing.listening import stop_listening

__all__ = ["RawHttp", "answer"]


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole response. Underscores in the names of `headers` stand for hyphens."""
    given = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


class RawHttp:
    """Answers each request with the same bytes and closes, in a thread of its own."""

    def __init__(self, said: bytes, tls: ssl.SSLContext | None = None) -> None:
        """said: what it answers, with the status line at its beginning. tls: its certificate."""
        self.requests: list[bytes] = []
        """what was asked, with headers and body"""
        self._said, self._tls = said, tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tests-raw-http", daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(60)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _end(self) -> None:
        await stop_listening(self._server)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            self.requests.append(head + await reader.readexactly(length))
            writer.write(self._said)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
