"""A small HTTP/1.1 server for one machine: asyncio streams with h11, which the providers' own HTTP client brings.

It keeps connections alive, takes as many at once as are made, notices at any moment that a client has gone, and
closes at once, whatever is under way. It knows nothing of models.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from tenuto.errors import MissingExtra
from tenuto.testing.listening import stop_listening

try:
    import h11
except ImportError as error:
    raise MissingExtra(
        f"the endpoint of tenuto.testing needs h11, which is not part of this installation ({error}): "
        "install tenuto[llm]",
        extra="llm",
    ) from None

__all__ = ["Handler", "HttpRequest", "HttpServer", "Response"]

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a request's body, above which the connection is closed."""

CHUNK = 64 * 1024


@dataclass(frozen=True)
class HttpRequest:
    """One request, read to its end. The names of `headers` are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Response:
    """The answer to one request, written as the handler goes along."""

    def __init__(self, connection: h11.Connection, writer: asyncio.StreamWriter) -> None:
        self._connection, self._writer = connection, writer
        self.dropped = self.ended = False

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Sends status line and headers. Without a `content-length` the body is sent in chunks."""
        await self._send(h11.Response(status_code=status, headers=list(headers)))

    async def write(self, data: bytes) -> None:
        """Sends a part of the body."""
        if data:
            await self._send(h11.Data(data=data))

    async def end(self, data: bytes = b"") -> None:
        """Sends the last part of the body and its end, as one."""
        await self._send(h11.Data(data=data), h11.EndOfMessage())
        self.ended = True

    def drop(self) -> None:
        """Ends the connection after what was sent, however much is missing."""
        self.dropped = True

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._connection.send(event) or b"" for event in events)
        if data:
            self._writer.write(data)
            await self._writer.drain()


Handler = Callable[[HttpRequest, Response], Awaitable[None]]
"""Answers one request. It is cancelled when its client goes."""


class HttpServer:
    """Listens on 127.0.0.1. Made, started and closed in one event loop."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listens on `port`, or on a free one, and gives its number. Raises `OSError` where the port is taken."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Ends all connections, whatever they are at."""
        if self._server is not None:
            await stop_listening(self._server)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await _Connection(reader, writer, self._handler).serve()
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader, self._writer, self._handler = reader, writer, handler
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=CHUNK)

    async def serve(self) -> None:
        """Answers requests one after the other until either side ends."""
        try:
            while (request := await self._request()) is not None:
                response = Response(self._h11, self._writer)
                await self._answer(request, response)
                if response.dropped or self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                    return
                self._h11.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, str(error))

    async def _request(self) -> HttpRequest | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    self._writer.write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                self._h11.receive_data(await self._reader.read(CHUNK))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LARGEST_BODY:
                    await self._refuse(413, "the request is too large")
                    return None
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
                return HttpRequest(head.method.decode(), head.target.decode(), headers, bytes(body))
            else:
                return None

    async def _answer(self, request: HttpRequest, response: Response) -> None:
        """Runs the handler, and ends it as soon as the client is gone."""
        answering = asyncio.ensure_future(self._handler(request, response))
        leaving = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ConnectionResetError("the client has gone")
            await answering
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _gone(self) -> None:
        """Returns when the client has closed; what it sends meanwhile is kept for the next request."""
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(CHUNK):
                self._h11.receive_data(data)

    async def _refuse(self, status: int, reason: str) -> None:
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = Response(self._h11, self._writer)
            said = reason.encode()
            await response.start(status, [("content-length", str(len(said))), ("connection", "close")])
            await response.end(said)
