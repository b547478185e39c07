"""Running the queries of this engine on a connection."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import apsw

from tenuto.stores.rows import Header, NewTask, Statements
from tenuto.stores.sqlite.queries import query, rows_query
from tenuto.tasks.clock import Millis

__all__ = ["SqliteStatements"]

_MOST_ROWS = 256
"""Rows in one statement. Every power of two up to here is a statement of its own in the cache."""
_EXACTLY = 16
"""Up to so many rows go in one statement, whatever their number: a call of a model writes eleven counts."""


class SqliteStatements(Statements):
    """A connection, in whatever transaction is open on it."""

    most_kept_back = 2**62

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    @property
    def passes_on(self) -> bool:
        return False

    def header(self) -> Header:
        rows: list[Any] = self.connection.execute(query("header")).fetchall()
        return Header(*rows[0])

    def value(self, name: str, *parameters: Any) -> Any:
        rows = self.connection.execute(query(name), parameters).fetchall()
        return rows[0][0] if rows else None

    def run(self, name: str, *parameters: Any) -> None:
        self.connection.execute(query(name), parameters)

    def run_rows(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        begin, left = 0, len(rows)
        while left:
            size = left if left <= _EXACTLY else min(1 << (left.bit_length() - 1), _MOST_ROWS)
            parameters = tuple(chain.from_iterable(rows[begin : begin + size]))
            self.connection.execute(rows_query(name, size), parameters)
            begin, left = begin + size, left - size

    def count(self, name: str, *parameters: Any) -> int:
        self.connection.execute(query(name), parameters)
        return self.connection.changes()

    def insert_tasks(self, tasks: Sequence[NewTask]) -> None:
        self.run_rows("insert_tasks", [task[:-1] for task in tasks])
        self.run_rows("insert_specs", [(task.number, task.fixed) for task in tasks])

    def first_cursor(self, last: int, now: Millis) -> int:
        return last + 1

    def raise_floor(self, header: Header) -> None:
        self.connection.execute(query("raise_floor"), header)
