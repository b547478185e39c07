"""A server that reads a request over HTTP and answers with any bytes at all, over TLS or not.

with RawHttp(b"HTTP/1.1 200 OK\\r\\n\\r\\nno JSON") as server:
    url = server.url
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Self

from tests.servers.listener import Listener

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
        self._said = said
        self._scheme = "https" if tls else "http"
        self._listener = Listener("tests-raw-http", self._serve, tls=tls)
        self.url = ""

    def __enter__(self) -> Self:
        self.url = f"{self._scheme}://127.0.0.1:{self._listener.start()}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.stop()

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
