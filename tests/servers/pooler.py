"""A connection pooler in transaction mode, as pgbouncer is one, between clients and a private PostgreSQL.

A client gets a connection to the server when it begins a transaction, and loses it when the transaction ends: what it
has set, prepared or listened to stays behind with whoever is next. Notifications that come to a connection without a
client are dropped. Clients are let in without a password.

    with TransactionPooler(server) as pooler:
        url = pooler.url(database)
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from types import TracebackType
from typing import Self

from tests.servers.listener import Listener
from tests.servers.ports import free_port
from tests.servers.postgres import PostgresServer

__all__ = ["TransactionPooler"]

_NO_ENCRYPTION = frozenset({80877103, 80877104})
_CANCEL = 80877102
_ANSWERED = frozenset({b"Q", b"S"})
"""Messages of a client that the server answers with `ReadyForQuery`."""

Message = tuple[bytes, bytes]


class TransactionPooler:
    """Listens on a free port, in a thread of its own."""

    def __init__(self, server: PostgresServer) -> None:
        self.follow(server)
        self._port = free_port()
        self._idle: dict[bytes, list[_Backend]] = {}
        self._listener = Listener("tests-pooler", self._welcome, self._port)
        self.backends = 0
        """connections to the server that were made"""

    def follow(self, server: PostgresServer) -> None:
        """Leads to another server from now on. Clients between transactions notice nothing where the old is gone."""
        self._socket = f"{server.folder}/.s.PGSQL.{server.port}"

    def url(self, database: str) -> str:
        """The URL of a database behind the pooler."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}?prepare=off"

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.stop()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, OSError):
            startup = await _startup(reader, writer)
            if startup is None:
                return
            backend = await self._take(startup)
            writer.write(backend.greeting)
            self._idle[startup].append(backend)
            await self._serve(startup, reader, writer)

    async def _serve(self, startup: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend: _Backend | None = None
        try:
            while (message := await _message(reader))[0] != b"X":
                if backend is None or backend.client is not writer:
                    backend = await self._take(startup)
                    backend.client = writer
                backend.awaited += message[0] in _ANSWERED
                backend.writer.write(_packed(message))
        finally:
            if backend is not None and backend.client is writer:  # it left in the middle of a transaction
                backend.writer.close()

    async def _take(self, startup: bytes) -> _Backend:
        idle = self._idle.setdefault(startup, [])
        while idle:
            backend = idle.pop()
            if not backend.writer.is_closing():
                return backend
        reader, writer = await asyncio.open_unix_connection(self._socket)
        writer.write(struct.pack(">i", len(startup) + 4) + startup)
        backend = _Backend(reader, writer, idle)
        await backend.greet()
        self.backends += 1
        return backend


class _Backend:
    """A connection to the server, and who has it now."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: list[_Backend]) -> None:
        self.reader = reader
        self.writer = writer
        self.client: asyncio.StreamWriter | None = None
        self.awaited = 0
        self.greeting = b""
        """what the server said of itself; the number of its process is the pooler's own"""
        self._idle = idle

    async def greet(self) -> None:
        """Waits until the server is ready."""
        while not self.greeting.endswith(b"Z\0\0\0\5I"):
            kind, body = await _message(self.reader)
            self.greeting += _packed((kind, bytes(len(body)) if kind == b"K" else body))
        self._passing = asyncio.create_task(self._pass_on())

    async def _pass_on(self) -> None:
        """Brings answers to the client, and gives the connection back when a transaction has ended."""
        with contextlib.closing(self.writer), contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                kind, body = await _message(self.reader)
                if self.client is not None:
                    self.client.write(_packed((kind, body)))
                self.awaited -= kind == b"Z"
                if (kind, body) == (b"Z", b"I") and self.awaited == 0 and self.client is not None:
                    self.client = None
                    self._idle.append(self)
        if self.client is not None:
            self.client.close()


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
    """What a client says of itself; None where it only wants to cancel something."""
    while True:
        (length,) = struct.unpack(">i", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        (code,) = struct.unpack(">i", body[:4])
        if code == _CANCEL:
            return None
        if code not in _NO_ENCRYPTION:
            return body
        writer.write(b"N")


async def _message(reader: asyncio.StreamReader) -> Message:
    kind = await reader.readexactly(1)
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return kind, await reader.readexactly(length - 4)


def _packed(message: Message) -> bytes:
    kind, body = message
    return kind + struct.pack(">i", len(body) + 4) + body
