"""TLS in front of a server that has none of its own, with certificates made for the occasion.

with TlsFront(server.socket) as front:
    url = f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={front.authority}"
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from tests.servers.listener import Listener
from tests.servers.ports import free_port

__all__ = ["TlsFront"]

_CHUNK = 65_536


class TlsFront:
    """Takes TLS connections on a port, and passes on to a Unix socket what comes over them."""

    def __init__(self, socket: Path, *, name: str = "127.0.0.1", client_certificates: bool = False) -> None:
        """`name`: whom its certificate is for. `client_certificates`: who has none is not let in."""
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="tenuto-tls-"))
        self.authority = self.folder / "authority.pem"
        """the certificate of who signs"""
        self.certificate, self.key = self.folder / "client.pem", self.folder / "client.key"
        """of a client"""
        self._socket = socket
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        client = authority.issue_cert("client@example.org")
        client.cert_chain_pems[0].write_to_path(str(self.certificate))
        client.private_key_pem.write_to_path(str(self.key))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(self._context)
        if client_certificates:
            authority.configure_trust(self._context)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = Listener("tests-tls", self._serve, self.port, self._context)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
        except (OSError, asyncio.CancelledError):
            return  # one of the two has gone, or the test is over
        finally:
            for each in (writer, inner_writer):
                with contextlib.suppress(OSError):
                    each.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()
