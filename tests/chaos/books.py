"""The program's own tables, in the database of the store: what it has ordered, and what its steps have booked.

Its own connection is apsw's or psycopg's, as the store's URL says; the SQL is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import apsw
import psycopg

__all__ = ["Books", "book"]

_TABLES = (
    "CREATE TABLE IF NOT EXISTS chaos_order (number INTEGER, task TEXT)",
    "CREATE TABLE IF NOT EXISTS chaos_booked (task TEXT, step TEXT, value TEXT)",
)


def book(connection: Any, task: str, step: str, value: str) -> None:
    """Books what a step has made, over the connection of the transaction that records the step."""
    _execute(connection, "INSERT INTO chaos_booked VALUES (?, ?, ?)", task, step, value)


def _execute(connection: Any, sql: str, *values: Any) -> Any:
    """In psycopg's words where `connection` is one of its connections, else in apsw's."""
    marked = sql.replace("?", "%s") if isinstance(connection, psycopg.Connection) else sql
    return connection.execute(marked, values)


class Books:
    """The tables, over a connection of one's own."""

    def __init__(self, url: str) -> None:
        self._begin = "BEGIN"
        if url.startswith("sqlite:///"):
            self.connection: Any = apsw.Connection(url.removeprefix("sqlite:///"))
            self.connection.set_busy_timeout(20_000)
            self._begin = "BEGIN IMMEDIATE"
        else:
            self.connection = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        self.connection.close()

    def prepare(self) -> None:
        """Makes the tables, where there are none."""
        for sql in _TABLES:
            _execute(self.connection, sql)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits what is done in the block, or nothing of it."""
        _execute(self.connection, self._begin)
        try:
            yield
        except BaseException:
            with contextlib.suppress(psycopg.OperationalError):  # a connection that is gone has rolled back
                _execute(self.connection, "ROLLBACK")
            raise
        _execute(self.connection, "COMMIT")

    def order(self, number: int, task: str) -> None:
        _execute(self.connection, "INSERT INTO chaos_order VALUES (?, ?)", number, task)

    def ordered(self, number: int) -> bool:
        found = _execute(self.connection, "SELECT count(*) FROM chaos_order WHERE number = ?", number).fetchall()
        return bool(found[0][0])

    def orders(self) -> list[str]:
        """The tasks that were ordered."""
        return [str(task) for (task,) in _execute(self.connection, "SELECT task FROM chaos_order").fetchall()]

    def booked(self) -> list[tuple[str, str, str]]:
        """Task, step and value of everything that was booked."""
        return list(_execute(self.connection, "SELECT task, step, value FROM chaos_booked").fetchall())
