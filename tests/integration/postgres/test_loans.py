"""Connections for transactions of tasks are kept for the next ones, and bring nothing with them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tenuto.stores.postgres import PostgresStore, loans
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Step
from tests.conformance.stage import LEASE, Stage, VirtualClock, spec
from tests.servers.postgres import PostgresServer

Lent = psycopg.Connection[Any]

_PATIENCE = 60.0


class Task:
    """A task that is running, and makes one transaction after the other."""

    def __init__(self, store: PostgresStore, hold: Hold) -> None:
        self.store, self._hold = store, hold
        self._steps = 0

    async def transact(self, function: Callable[[Lent], object]) -> None:
        self._steps += 1

        def work(connection: Lent) -> bytes:
            function(connection)
            return b"1"

        recorded = await self.store.transact(self._hold, Step(f"step-{self._steps}", 0), work, LEASE)
        assert recorded.answer is Answer.ACCEPTED

    async def process(self) -> int:
        """The process of the server that a transaction gets."""
        found: list[int] = []
        await self.transact(lambda connection: found.append(connection.info.backend_pid))
        return found[0]


@pytest.fixture
async def task(server: PostgresServer, database: str) -> AsyncIterator[Task]:
    clock = VirtualClock()
    store = PostgresStore(server.url(database), clock=clock)
    await store.open()
    stage = Stage(store, clock)
    await stage.add(spec())
    yield Task(store, (await stage.worker().claim_one()).hold)
    await store.close()


def sessions(server: PostgresServer, database: str) -> int:
    """Connections for transactions of tasks, as the server sees them."""
    with server.connect() as admin:
        found = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'tenuto task'", [database]
        ).fetchone()
    assert found is not None
    return int(found[0])


def await_sessions(server: PostgresServer, database: str, number: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while sessions(server, database) != number:
        assert time.monotonic() < deadline, f"{sessions(server, database)} sessions, and {number} were awaited"
        time.sleep(0.02)


async def test_one_connection_serves_transactions_that_follow_each_other(task: Task) -> None:
    assert len({await task.process() for _ in range(10)}) == 1


async def test_nothing_of_a_session_is_left_to_the_next_function(
    task: Task, server: PostgresServer, database: str
) -> None:
    # Given a function that leaves whatever a session can hold
    kept: list[Any] = []

    def leaves_much(connection: Lent) -> None:
        connection.execute("SET application_name = 'mine'")
        connection.execute("CREATE TEMPORARY TABLE mine (n integer)")
        connection.execute("SELECT pg_advisory_lock(42)")
        connection.execute("PREPARE mine AS SELECT 1")
        connection.row_factory = dict_row
        kept.extend([connection, connection.cursor(), connection.info.backend_pid])

    await task.transact(leaves_much)
    with server.connect(database) as other:
        assert other.execute("SELECT pg_try_advisory_lock(42)").fetchone() == (True,)

    # When the next one gets the same connection
    def looks(connection: Lent) -> None:
        assert connection.info.backend_pid == kept[2]
        # Then it finds nothing of all that, and what the first one has kept is closed
        assert connection.execute("SHOW application_name").fetchone() == ("tenuto task",)
        assert connection.execute("SELECT to_regclass('pg_temp.mine')").fetchone() == (None,)
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        for old in kept[:2]:
            with pytest.raises(psycopg.OperationalError, match="closed"):
                old.execute("CREATE TABLE theirs (n integer)")

    await task.transact(looks)


async def test_a_function_that_fails_leaves_a_connection_that_can_be_used(task: Task) -> None:
    process = await task.process()
    with pytest.raises(psycopg.errors.UndefinedTable):
        await task.transact(lambda connection: connection.execute("SELECT * FROM nothing"))
    assert await task.process() == process


async def test_a_connection_that_was_ended_meanwhile_is_replaced(
    task: Task, server: PostgresServer, database: str
) -> None:
    process = await task.process()
    with server.connect(database) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 20000)", [process])
    assert await task.process() != process


async def test_few_are_kept(task: Task, server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loans, "_IDLE", 1_000.0)
    together = threading.Barrier(5)
    await asyncio.gather(*(task.transact(lambda connection: together.wait(_PATIENCE)) for _ in range(5)))
    await asyncio.to_thread(await_sessions, server, database, 4)


async def test_none_is_kept_for_long(
    task: Task, server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loans, "_IDLE", 1.0)
    await task.process()
    await asyncio.to_thread(await_sessions, server, database, 0)


async def test_a_store_that_is_closed_leaves_none(task: Task, server: PostgresServer, database: str) -> None:
    await task.process()
    assert sessions(server, database) == 1
    await task.store.close()
    await asyncio.to_thread(await_sessions, server, database, 0)
    await task.store.open()
    await task.process()
