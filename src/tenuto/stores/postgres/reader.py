"""The reader: one thread with a connection of its own, which writers do not hold up.

Each round of requests sees one consistent state of the store: the latest that was committed when the round began, which
holds whatever was answered before the request was made.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable

import psycopg

from tenuto.errors import StoreError, StoreUnavailable
from tenuto.stores.postgres.connection import LAST_PATIENCE, PATIENCE, Address, Connection, connect
from tenuto.stores.postgres.errors import translate
from tenuto.stores.postgres.session import PostgresStatements
from tenuto.stores.requests import Mailbox, Request, answer
from tenuto.stores.rows import Clock, Rows
from tenuto.stores.tables import Tables

__all__ = ["Reader"]

_MOST_AT_ONCE = 64
_MOST_ROUNDS = 16
"""Times that a read waits for what has arrived meanwhile."""
_AGAIN = (0.02, 0.2)
"""Seconds between two attempts to connect."""


class Reader:
    """The thread, its connection, and the requests on their way to it."""

    def __init__(self, address: Address, clock: Clock, admit: Callable[[], None], *, server_time: bool) -> None:
        """`admit`: has what callers have submitted stored; returns when it is."""
        self._address = address
        self._admit = admit
        self._clock = clock
        self._server_time = server_time
        self._mailbox: Mailbox[Tables] = Mailbox()
        self._give_up = math.inf
        """when a server that cannot be reached is waited for no longer, because somebody waits for the end"""
        self._connection: Connection | None = None
        self._connect()
        self._thread = threading.Thread(target=self._run, name="tenuto-postgres-reader", daemon=True)
        self._thread.start()

    def put(self, request: Request[Tables]) -> bool:
        """Adds a request; False when the thread is about to end."""
        return self._mailbox.put(request)

    def close(self) -> None:
        """Answers all that was asked, then ends. Blocks until then."""
        self._mailbox.close()
        self._give_up = time.monotonic() + LAST_PATIENCE
        self._thread.join()

    def _run(self) -> None:
        while (requests := self._mailbox.take(_MOST_AT_ONCE)) is not None:
            if requests:
                self._serve(requests)
                answer(requests)
                self._end()
        self._disconnect()

    def _serve(self, requests: list[Request[Tables]]) -> None:
        """Answers `requests`, on a new connection where the old one has broken."""
        deadline = time.monotonic() + PATIENCE
        rounds = 0
        while True:
            broken = self._round(requests)
            if broken is None:
                rounds += 1
                if not self._statements.arrived or rounds > _MOST_ROUNDS or not self._admitted(requests):
                    return
                continue
            self._disconnect()
            if time.monotonic() > min(deadline, self._give_up):
                for request in requests:
                    request.error = broken
                return
            time.sleep(random.uniform(*_AGAIN))

    def _admitted(self, requests: list[Request[Tables]]) -> bool:
        """Has the writer admit what has arrived; whether the requests are to be asked again."""
        self._end()
        try:
            self._admit()
        except StoreError as error:
            for request in requests:
                request.error = error
            return False
        return True

    def _round(self, requests: list[Request[Tables]]) -> StoreError | None:
        """One transaction for all; why it could not be carried through."""
        try:
            if self._connection is None:
                self._connect()
            self._statements.begin_reading()
            rows = Rows(self._statements, self._clock)
            for request in requests:
                request.error = None
                try:
                    request.answer = request.verb(rows)
                except psycopg.DataError as error:
                    request.error = translate(error, self._address.url)
                    self._end()
                    self._statements.begin_reading()
                except (psycopg.Error, StoreUnavailable):
                    raise
                except Exception as error:  # noqa: BLE001  # it belongs to whoever asked, and the thread goes on
                    request.error = error
        except psycopg.Error as error:
            told = translate(error, self._address.url)
            if isinstance(told, StoreUnavailable):
                return told
            for request in requests:
                request.error = told
        except StoreUnavailable as error:
            return error
        except StoreError as error:
            for request in requests:
                request.error = error
        return None

    def _end(self) -> None:
        """Ends the transaction, after everyone got their answers."""
        try:
            if self._connection is not None:
                self._statements.roll_back()
        except psycopg.Error:
            self._disconnect()

    def _connect(self) -> None:
        self._connection = connect(self._address, "reader")
        self._statements = PostgresStatements(self._connection, self._address, server_time=self._server_time)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()
