"""Running named queries on a connection, and what is remembered between the statements of a transaction.

Reads give one row with one value, JSON where it is more than a number; writes of many rows are one statement.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol

from tenuto.stores.sqlite.queries import query, rows_query
from tenuto.tasks.clock import Millis

__all__ = ["Clock", "Connection", "Session"]

_MOST_ROWS = 256
"""Rows in one statement. Every power of two up to here is a statement of its own in the cache."""


class Connection(Protocol):
    """What is needed of a connection."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any:
        """Runs one statement."""


class Clock:
    """The engine's clock: the wall clock, except that it never goes back."""

    def __init__(self, wall: Callable[[], Millis]) -> None:
        self._wall = wall
        self._latest: Millis = 0

    def now(self, stored: Millis = 0) -> Millis:
        """Now; not earlier than `stored`, nor than what was said before."""
        self._latest = max(self._latest, self._wall(), stored)
        return self._latest


class Session:
    """A connection with its open transaction."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.connection = connection
        self._clock = clock
        self._now: Millis | None = None
        self._nonce = 0
        self._stands: tuple[int, int, Millis] | None = None

    def value(self, name: str, *parameters: Any) -> Any:
        """The one value that a query gives; None when it gives no row."""
        rows = self.connection.execute(query(name), parameters).fetchall()
        return rows[0][0] if rows else None

    def run(self, name: str, *parameters: Any) -> None:
        """Runs a query that gives nothing."""
        self.connection.execute(query(name), parameters)

    def run_rows(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Runs a query for all of `rows`, in few statements."""
        begin, left = 0, len(rows)
        while left:
            size = _MOST_ROWS if left >= _MOST_ROWS else 1 << (left.bit_length() - 1)
            parameters = tuple(chain.from_iterable(rows[begin : begin + size]))
            self.connection.execute(rows_query(name, size), parameters)
            begin, left = begin + size, left - size

    @property
    def now(self) -> Millis:
        """The engine's clock: the same instant for the whole transaction."""
        if self._now is None:
            self._now = self._clock.now(self.stands[2])
        return self._now

    @property
    def stands(self) -> tuple[int, int, Millis]:
        """The last number, the last cursor and the last instant that were used."""
        if self._stands is None:
            number, cursor, clock = self.connection.execute(query("header")).fetchall()[0]
            self._stands = number, cursor, clock
        return self._stands

    def nonce(self) -> int:
        """A fresh random number from 1 to 2**53 - 1: drawn once for a transaction, then counted on."""
        if not self._nonce:
            self._nonce = secrets.randbelow(2**52)
        self._nonce += 1
        return self._nonce
