"""A transaction of the task's own: how long it may take, and what it may not do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from tenuto.errors import InvalidInput, StoreUnavailable
from tenuto.stores.postgres import PostgresStore, sqlalchemy_connection
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Step
from tests.conformance.stage import LEASE, Stage, VirtualClock, raw, spec
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def stage(server: PostgresServer, database: str) -> AsyncIterator[Stage]:
    """A store in a database that has a table of the task's own."""
    with server.connect(database) as admin:
        admin.execute("CREATE TABLE bill (name text)")
    clock = VirtualClock()
    store = PostgresStore(server.url(database), clock=clock)
    await store.open()
    yield Stage(store, clock)
    await store.close()


@pytest.fixture
async def hold(stage: Stage) -> Hold:
    await stage.add(spec())
    return (await stage.worker().claim_one()).hold


def bills(server: PostgresServer, database: str) -> list[str]:
    with server.connect(database) as admin:
        return [row[0] for row in admin.execute("SELECT name FROM bill ORDER BY name")]


def insert(connection: psycopg.Connection[Any]) -> bytes:
    connection.execute("INSERT INTO bill VALUES ('ann')")
    return b'"done"'


async def keys(stage: Stage) -> list[str]:
    return [step.key for step in await stage.store.journal("task-1")]


async def test_a_function_that_takes_its_time_holds_nobody_up(
    stage: Stage, hold: Hold, server: PostgresServer, database: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: psycopg.Connection[Any]) -> bytes:
        insert(connection)
        begun.set()
        assert go_on.wait(60)
        return b"1"

    running = asyncio.create_task(stage.store.transact(hold, Step("pay", 0), slow, LEASE))
    await asyncio.to_thread(begun.wait, 20)
    for number in range(20):
        await stage.add(spec(f"other-{number}"))
    assert bills(server, database) == []
    go_on.set()
    assert (await running).answer is Answer.ACCEPTED
    assert bills(server, database) == ["ann"]
    assert await keys(stage) == ["pay"]


async def test_a_lease_that_is_lost_meanwhile_undoes_it(
    stage: Stage, hold: Hold, server: PostgresServer, database: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: psycopg.Connection[Any]) -> bytes:
        insert(connection)
        begun.set()
        assert go_on.wait(60)
        return b"1"

    running = asyncio.create_task(stage.store.transact(hold, Step("pay", 0), slow, LEASE))
    await asyncio.to_thread(begun.wait, 20)
    await stage.after(2 * LEASE)
    go_on.set()
    assert (await running).answer is Answer.STALE
    assert bills(server, database) == []
    assert await keys(stage) == []


async def test_a_request_that_was_made_twice_commits_once(
    stage: Stage, hold: Hold, server: PostgresServer, database: str
) -> None:
    both = threading.Barrier(2)

    def together(connection: psycopg.Connection[Any]) -> bytes:
        both.wait(60)
        return insert(connection)

    answers = await asyncio.gather(*(stage.store.transact(hold, Step("pay", 0), together, LEASE) for _ in range(2)))
    assert [each.answer for each in answers] == [Answer.ACCEPTED] * 2
    assert bills(server, database) == ["ann"]
    assert await keys(stage) == ["pay"]


async def test_the_function_cannot_commit(stage: Stage, hold: Hold, server: PostgresServer, database: str) -> None:
    def commits(connection: psycopg.Connection[Any]) -> bytes:
        insert(connection)
        connection.commit()
        return b"1"

    def commits_in_sql(connection: psycopg.Connection[Any]) -> bytes:
        insert(connection)
        connection.execute("COMMIT")
        return b"1"

    def rolls_back(connection: psycopg.Connection[Any]) -> bytes:
        connection.rollback()
        return insert(connection)

    for function, what in ((commits, "cannot be committed"), (rolls_back, "cannot be rolled back")):
        with pytest.raises(InvalidInput, match=what):
            await stage.store.transact(hold, Step("pay", 0), function, LEASE)
    assert bills(server, database) == []
    with pytest.raises(InvalidInput, match="COMMIT or ROLLBACK of its own"):
        await stage.store.transact(hold, Step("pay", 0), commits_in_sql, LEASE)
    assert await keys(stage) == []


async def test_sqlalchemy_works_in_it(stage: Stage, hold: Hold, server: PostgresServer, database: str) -> None:
    def pays(connection: psycopg.Connection[Any]) -> bytes:
        with sqlalchemy_connection(connection) as db:
            db.execute(sqlalchemy.text("INSERT INTO bill VALUES (:name)"), {"name": "bob"})
            with Session(bind=db, join_transaction_mode="create_savepoint") as session:
                session.execute(sqlalchemy.text("INSERT INTO bill VALUES ('cid')"))
                session.commit()
                session.execute(sqlalchemy.text("INSERT INTO bill VALUES ('undone')"))
                session.rollback()
        return insert(connection)

    def commits(connection: psycopg.Connection[Any]) -> bytes:
        with sqlalchemy_connection(connection) as db:
            db.execute(sqlalchemy.text("INSERT INTO bill VALUES ('eve')"))
            db.commit()
        return b"1"

    with pytest.raises(InvalidInput, match="cannot be committed"):
        await stage.store.transact(hold, Step("pay", 0), commits, LEASE)
    assert bills(server, database) == []
    assert (await stage.store.transact(hold, Step("pay", 0), pays, LEASE)).answer is Answer.ACCEPTED
    assert bills(server, database) == ["ann", "bob", "cid"]
    with psycopg.connect(server.url(database)) as other, pytest.raises(InvalidInput, match=r"ctx\.transaction"):
        sqlalchemy_connection(other).__enter__()


async def test_a_statement_that_failed_is_not_passed_over(
    stage: Stage, hold: Hold, server: PostgresServer, database: str
) -> None:
    def careless(connection: psycopg.Connection[Any]) -> bytes:
        insert(connection)
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nothing")
        return b"1"

    def careful(connection: psycopg.Connection[Any]) -> bytes:
        with pytest.raises(psycopg.errors.UndefinedTable), connection.transaction():
            connection.execute("SELECT * FROM nothing")
        return insert(connection)

    with pytest.raises(InvalidInput, match="use a savepoint"):
        await stage.store.transact(hold, Step("pay", 0), careless, LEASE)
    assert bills(server, database) == []
    assert (await stage.store.transact(hold, Step("pay", 0), careful, LEASE)).answer is Answer.ACCEPTED
    assert bills(server, database) == ["ann"]


async def test_a_connection_that_breaks_is_told_as_such(
    stage: Stage, hold: Hold, server: PostgresServer, database: str
) -> None:
    def unlucky(connection: psycopg.Connection[Any]) -> bytes:
        insert(connection)
        with server.connect(database) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        return b"1"

    with pytest.raises(StoreUnavailable):
        await stage.store.transact(hold, Step("pay", 0), unlucky, LEASE)
    assert bills(server, database) == []
    assert (await stage.store.transact(hold, Step("pay", 0, value=raw(None)), insert, LEASE)).answer is Answer.ACCEPTED
    assert bills(server, database) == ["ann"]


async def test_nothing_is_left_of_the_connection(stage: Stage, hold: Hold) -> None:
    kept: list[psycopg.Connection[Any]] = []

    def keeps(connection: psycopg.Connection[Any]) -> bytes:
        kept.append(connection)
        return insert(connection)

    await stage.store.transact(hold, Step("pay", 0), keeps, LEASE)
    with pytest.raises(psycopg.OperationalError, match="closed"):
        kept[0].execute("INSERT INTO bill VALUES ('later')")
