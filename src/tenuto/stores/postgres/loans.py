"""Connections for transactions of tasks: a few that are idle are kept, so that the next one need not be made.

What a function leaves in its session (settings, temporary tables, locks, prepared statements) is discarded when the
connection comes back, and the object that it had is closed for it: the next function gets another one. What is broken,
in use when it comes back, or idle for long is closed.

A pool of psycopg's own has threads, waits for room and gives the same objects again: nothing of it is wanted here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator

import psycopg
from psycopg import pq

from tenuto.stores.postgres.connection import Address, connect_as
from tenuto.stores.postgres.lent import LentConnection

__all__ = ["Loans"]

_MOST = 4
"""Idle connections that are kept."""
_IDLE = 30.0
"""Seconds after which an idle connection is closed."""


class Loans:
    """The idle connections of one store."""

    def __init__(self, address: Address) -> None:
        self.address = dataclasses.replace(address, prepare=False)
        """how they are used: what was prepared would be gone with the next function"""
        self._lock = threading.Lock()
        self._idle: list[tuple[float, LentConnection]] = []
        """with the time at which each came back, the latest last"""
        self._timer: threading.Timer | None = None
        self._closed = False

    @contextlib.contextmanager
    def begun(self, statement: bytes) -> Iterator[LentConnection]:
        """A connection on which `statement` has begun a transaction. What is left of that is rolled back.

        Raises a `StoreError` where no connection can be made, and what psycopg raises for `statement`.
        """
        connection = self._begin(statement)
        try:
            yield connection
        finally:
            self._take_back(connection)

    def open(self) -> None:
        """From now on connections are kept. Idempotent."""
        self._closed = False

    def close(self) -> None:
        """Closes what is idle, and whatever comes back later. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for _, connection in idle:
            connection.close()

    def _begin(self, statement: bytes) -> LentConnection:
        while (kept := self._kept()) is not None:
            try:
                kept.execute(statement)
            except psycopg.OperationalError:  # the server has ended it meanwhile; nothing was done on it
                kept.close()
            else:
                return kept
        connection = connect_as(LentConnection, self.address, "task")
        try:
            connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _kept(self) -> LentConnection | None:
        with self._lock:
            return self._idle.pop()[1] if self._idle else None

    def _take_back(self, connection: LentConnection) -> None:
        following: LentConnection | None = None
        with contextlib.suppress(psycopg.Error):
            following = self._as_new(connection)
        if following is None:
            connection.shared = False
            connection.close()
            return
        with self._lock:
            if not self._closed and len(self._idle) < _MOST:
                self._idle.append((time.monotonic(), following))
                self._set_timer()
                return
        following.close()

    def _as_new(self, connection: LentConnection) -> LentConnection | None:
        """The connection for the next function; None where it is not known what it is still at."""
        if connection.closed or connection.pgconn.pipeline_status != pq.PipelineStatus.OFF:
            return None
        status = connection.pgconn.transaction_status
        if status not in {pq.TransactionStatus.IDLE, pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}:
            return None
        following = connection.hand_on()
        try:
            if status != pq.TransactionStatus.IDLE:
                following.execute(b"ROLLBACK")
            following.autocommit = True
            following.execute(b"DISCARD ALL")
        except BaseException:
            following.close()
            raise
        return following

    def _set_timer(self) -> None:
        if self._timer is None and self._idle:
            wait = max(self._idle[0][0] + _IDLE - time.monotonic(), 0.0)
            self._timer = threading.Timer(wait, self._expire)
            self._timer.name = "tenuto-postgres-loans"
            self._timer.daemon = True
            self._timer.start()

    def _expire(self) -> None:
        with self._lock:
            self._timer = None
            now = time.monotonic()
            old = [each for at, each in self._idle if at + _IDLE <= now]
            self._idle = [(at, each) for at, each in self._idle if at + _IDLE > now]
            self._set_timer()
        for connection in old:
            connection.close()
