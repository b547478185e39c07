"""The connection that a task's function gets: with a transaction that is not its own to end.

It is a connection of psycopg. A function that works with SQLAlchemy goes on from there:

    from tenuto.stores.postgres import sqlalchemy_connection

    def pay(connection, order):
        with sqlalchemy_connection(connection) as db:
            db.execute(insert(bills).values(order=order))

    await ctx.transaction("pay", pay, order)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen

from tenuto.errors import InvalidInput
from tenuto.stores.postgres.connection import Connection

if TYPE_CHECKING:
    import sqlalchemy

__all__ = ["LentConnection", "sqlalchemy_connection"]

T = TypeVar("T")


class LentConnection(Connection):
    """A connection on which others have begun a transaction, which they will end."""

    shared = False
    """SQLAlchemy is at its own business with it: what it ends at the beginning and at the end is nobody's work"""

    def commit(self) -> None:
        """Raises `InvalidInput`: it is committed together with its step."""
        self._refuse("committed")

    def rollback(self) -> None:
        """Raises `InvalidInput`: what the function raises rolls it back."""
        self._refuse("rolled back")

    def _refuse(self, what: str) -> None:
        if not self.shared:
            raise InvalidInput(
                f"a transaction of a task cannot be {what} by its function: it is committed together with its step, "
                "and rolled back by what the function raises; use savepoints inside"
            )

    def hand_on(self) -> LentConnection:
        """Another object for the same connection to the server; this one is closed."""
        following = LentConnection(self.pgconn)
        following.prepare_threshold = self.prepare_threshold
        self.pgconn = _nowhere()
        return following

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Waits for the server, unless the connection is closed: a cursor that was kept may not know."""
        if self.closed:
            raise psycopg.OperationalError("the connection is closed")
        return super().wait(gen, interval, timeout)

    def close(self) -> None:
        """Closes it, unless it is SQLAlchemy that lets go of it."""
        if not self.shared:
            super().close()


@cache
def _nowhere() -> pq.abc.PGconn:
    """What a connection leads to that is closed."""
    found = pq.PGconn.connect_start(b"host=/nowhere")
    found.finish()
    return found


@contextmanager
def sqlalchemy_connection(connection: Any) -> Iterator[sqlalchemy.Connection]:
    """A connection of SQLAlchemy in the transaction of a task (`ctx.transaction`), whose connection of psycopg this is.

    For a session: `Session(bind=..., join_transaction_mode="create_savepoint")`. Raises `InvalidInput` for a connection
    of anybody else.
    """
    import sqlalchemy
    from sqlalchemy.pool import StaticPool

    if not isinstance(connection, LentConnection):
        raise InvalidInput("connection must be the one that the function of ctx.transaction was given")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool, pool_reset_on_return=None
    )
    connection.shared = True  # it looks at the server first, and rolls that back
    try:
        with engine.connect() as theirs:
            theirs.begin()
            connection.shared = False
            try:
                yield theirs
            finally:
                connection.shared = True
        engine.dispose()
    finally:
        connection.shared = False
