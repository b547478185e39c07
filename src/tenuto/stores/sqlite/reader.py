"""The reader: one thread with a connection of its own, which writers do not hold up.

Each round of requests sees one consistent state of the file: the latest that was committed when the round began, which
holds whatever was answered before the request was made.
"""

from __future__ import annotations

import threading
from pathlib import Path

import apsw

from tenuto.errors import StoreError
from tenuto.stores.requests import Mailbox, Request, answer
from tenuto.stores.rows import Clock, Rows
from tenuto.stores.sqlite.connection import Identity, connect
from tenuto.stores.sqlite.errors import translate
from tenuto.stores.sqlite.statements import SqliteStatements
from tenuto.stores.tables import Tables

__all__ = ["Reader"]

_MOST_AT_ONCE = 64


class Reader:
    """The thread, its connection, and the requests on their way to it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._mailbox: Mailbox[Tables] = Mailbox()
        self._identity = Identity(path)
        self._connection = connect(path)
        self._thread = threading.Thread(target=self._run, name="tenuto-sqlite-reader", daemon=True)
        self._thread.start()

    def put(self, request: Request[Tables]) -> bool:
        """Adds a request; False when the thread is about to end."""
        return self._mailbox.put(request)

    def close(self) -> None:
        """Answers all that was asked, then ends. Blocks until then."""
        self._mailbox.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            requests = self._mailbox.take(_MOST_AT_ONCE)
            if requests is None:
                break
            self._serve(requests)
            answer(requests)
        self._connection.close()

    def _serve(self, requests: list[Request[Tables]]) -> None:
        rows = Rows(SqliteStatements(self._connection), self._clock)
        self._clock.now()
        try:
            self._identity.check()
            self._connection.execute("BEGIN")
        except (apsw.Error, StoreError) as error:
            for request in requests:
                request.error = translate(error, self._path) if isinstance(error, apsw.Error) else error
            return
        for request in requests:
            try:
                request.answer = request.verb(rows)
            except apsw.Error as error:
                request.error = translate(error, self._path)
            except Exception as error:  # noqa: BLE001  # it belongs to whoever asked, and the thread goes on
                request.error = error
        try:
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            failure: StoreError | ValueError = translate(error, self._path)
            for request in requests:
                request.error = request.error or failure
