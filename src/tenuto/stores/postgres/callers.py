"""Submitting inside the caller's own transaction.

The caller brings a connection of psycopg or of SQLAlchemy over psycopg, blocking or asynchronous, with its transaction.
In there, between two savepoints, stand: the locks of the names that the trees would like to have, a row with the trees
(`arrivals`), and a notification that is heard when the caller commits. What is answered comes from a rehearsal: a
transaction of the store that carries the submission out and is rolled back. The caller's transaction never waits for
more than the transaction that the store is at just then, and nobody waits for the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import pq
from psycopg.rows import tuple_row

from tenuto.errors import InvalidInput
from tenuto.stores.base import Submission, Verdict
from tenuto.stores.postgres.arrivals import BLOCKED, names_of, packed, unpacked
from tenuto.stores.postgres.connection import Address
from tenuto.stores.postgres.hints import ARRIVED
from tenuto.stores.postgres.queries import query
from tenuto.tasks.goal import Tree

__all__ = ["Rehearsal", "Rehearsed", "submit_inside"]

Rehearsal = Callable[[Sequence[Sequence[Tree]], Sequence[Tree]], Awaitable[list[Submission]]]
"""What would be answered to trees, after earlier ones of the same transaction."""

_MOST_NAMES = 2_000
"""Names that one call may submit: each is a lock on the server, which has room for some thousands."""


class Rehearsed(Exception):
    """Ends a transaction of the store that was only to find out what would be answered."""

    def __init__(self, answers: list[Submission]) -> None:
        super().__init__()
        self.answers = answers


async def submit_inside(
    connection: Any, address: Address, identity: str, trees: Sequence[Tree], rehearse: Rehearsal
) -> list[Submission]:
    """Submits `trees` in the transaction of the caller's `connection`.

    `identity`: of the server and the database of the store. Raises `InvalidInput` for a connection of another kind, to
    another database, or without a transaction. Whatever is raised, of the trees nothing is in the transaction.
    """
    theirs = await Theirs.of(connection)
    names = [names_of(tree, address) for tree in trees]
    if sum(map(len, names)) > _MOST_NAMES:
        raise InvalidInput(f"trees: at most {_MOST_NAMES} tasks and keys can be submitted at once with a connection")
    await theirs.execute(b"SAVEPOINT tenuto_submit")
    try:
        if (await theirs.value(query("identity", address.schema))) != identity:
            raise InvalidInput(f"connection is connected to another database than the store {address.url}")
        taken = await _guarded(theirs, address, [number for each in names for number in each])
        free = [tree for tree, wanted in zip(trees, names, strict=True) if not taken & wanted.keys()]
        earlier = [unpacked(row[0]) for row in await theirs.execute(query("own_arrivals", address.schema))]
        answers = await rehearse(earlier, free)
        new = [tree for tree, answer in zip(free, answers, strict=True) if answer.verdict is Verdict.CREATED]
        if new:
            await theirs.execute(query("insert_arrival", address.schema), packed(new))
            await theirs.execute(query("tell_arrival", address.schema), address.channel, ARRIVED)
    except BaseException:
        with contextlib.suppress(psycopg.Error):  # the connection broke, and the transaction is gone
            await theirs.execute(b"ROLLBACK TO SAVEPOINT tenuto_submit")
            await theirs.execute(b"RELEASE SAVEPOINT tenuto_submit")
        raise
    await theirs.execute(b"RELEASE SAVEPOINT tenuto_submit")
    told = iter(answers)
    return [_blocked(tree) if taken & wanted.keys() else next(told) for tree, wanted in zip(trees, names, strict=True)]


async def _guarded(theirs: Theirs, address: Address, numbers: Sequence[int]) -> set[int]:
    """Takes the locks of names; those that another transaction has."""
    await theirs.execute(query("join_callers", address.schema), address.callers)
    return set(msgspec.json.decode(await theirs.value(query("guard_names", address.schema), list(numbers))))


def _blocked(tree: Tree) -> Submission:
    return Submission(tree.root.id, Verdict.CONFLICT, BLOCKED.format(tree.root.id))


class Theirs:
    """The caller's connection, whatever its kind: statements in its transaction."""

    def __init__(self, connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    @classmethod
    async def of(cls, connection: Any) -> Theirs:
        """Raises `InvalidInput` for what is no connection with a transaction."""
        driver = await _driver_of(connection)
        if not isinstance(driver, psycopg.Connection | psycopg.AsyncConnection):
            raise InvalidInput(
                "connection must be one of psycopg 3, or of SQLAlchemy over it (postgresql+psycopg), "
                f"not {type(driver).__module__}.{type(driver).__qualname__}"
            )
        match driver.info.transaction_status:
            case pq.TransactionStatus.INTRANS:
                return cls(driver)
            case pq.TransactionStatus.IDLE if not driver.autocommit:
                return cls(driver)  # the first statement begins one
            case pq.TransactionStatus.IDLE:
                raise InvalidInput("connection has no open transaction: begin one, submit, then commit it")
            case pq.TransactionStatus.INERROR:
                raise InvalidInput("connection has a transaction that has failed: roll it back, then begin another")
            case _:
                raise InvalidInput("connection is closed, or busy with another statement")

    async def execute(self, sql: bytes, *parameters: Any) -> list[tuple[Any, ...]]:
        """Runs one statement; its rows, if it gives any."""
        if isinstance(self._connection, psycopg.AsyncConnection):
            async with psycopg.AsyncRawCursor(self._connection, row_factory=tuple_row) as cursor:
                await cursor.execute(sql, parameters, prepare=False)
                return await cursor.fetchall() if cursor.description else []
        return await asyncio.to_thread(self._execute, self._connection, sql, parameters)

    def _execute(
        self, connection: psycopg.Connection[Any], sql: bytes, parameters: tuple[Any, ...]
    ) -> list[tuple[Any, ...]]:
        with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:
            cursor.execute(sql, parameters, prepare=False)
            return cursor.fetchall() if cursor.description else []

    async def value(self, sql: bytes, *parameters: Any) -> Any:
        """The one value that a statement gives."""
        return (await self.execute(sql, *parameters))[0][0]


async def _driver_of(connection: Any) -> Any:
    """The driver's connection, with the transaction begun where SQLAlchemy would begin one by itself."""
    if not any(kind.__module__.partition(".")[0] == "sqlalchemy" for kind in type(connection).__mro__):
        return connection
    if hasattr(connection, "get_bind"):  # a session
        connection = connection.connection()
        if inspect.isawaitable(connection):
            connection = await connection
    if getattr(connection, "sync_connection", connection) is None:
        raise InvalidInput("connection is not open yet: use it inside `async with engine.connect() as connection`")
    if not hasattr(connection, "in_transaction"):
        return connection
    if not connection.in_transaction():
        begun = connection.begin()
        if inspect.isawaitable(begun):
            await begun
    if hasattr(connection, "get_raw_connection"):
        return (await connection.get_raw_connection()).driver_connection
    return connection.connection.driver_connection
