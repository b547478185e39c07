"""Programs that stand still with the store's lock, and transactions that take longer than one may stand still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing

import psycopg
import pytest

from tenuto.errors import StoreUnavailable
from tenuto.stores.base import Verdict
from tenuto.stores.postgres import PostgresStore, reader, session, writer
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.outcome import Answer
from tenuto.tasks.task import TaskSpec
from tests.conformance.stage import Worker, spec
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def store(server: PostgresServer, database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(server.url(database))
    await store.open()
    yield store
    await store.close()


def stand_still(connection: psycopg.Connection[tuple[object, ...]], lock: int) -> None:
    """Begins as a writer does, takes the lock, and sends nothing more: to the server it is at work."""
    wire = connection.pgconn
    wire.enter_pipeline_mode()
    for sql in (
        "BEGIN",
        "SELECT set_config('idle_in_transaction_session_timeout', '500', true)",
        f"SELECT pg_advisory_xact_lock({lock})",
    ):
        wire.send_query_params(sql.encode(), None)
    wire.send_flush_request()
    while wire.flush():
        time.sleep(0.001)


async def test_who_falls_silent_while_it_sends_keeps_the_lock_for_a_while_only(
    store: PostgresStore, server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_LOCK_TIMEOUT", 1_000)
    monkeypatch.setattr(session, "_STUCK", 1)
    with closing(psycopg.connect(server.url(database), autocommit=True)) as silent:
        stand_still(silent, store._address.lock)
        (answer,) = await store.submit([Tree(spec("a"))])
        assert answer.verdict is Verdict.CREATED


async def test_who_is_at_work_with_the_lock_keeps_it(
    store: PostgresStore, server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_LOCK_TIMEOUT", 200)
    monkeypatch.setattr(session, "_STUCK", 1)
    with psycopg.connect(server.url(database), autocommit=True) as busy:
        busy.execute("BEGIN")
        busy.execute(f"SELECT pg_advisory_xact_lock({store._address.lock})".encode())
        submission = asyncio.create_task(store.submit([Tree(spec("a"))]))
        await asyncio.to_thread(busy.execute, "SELECT pg_sleep(3)")
        assert not submission.done()
        busy.execute("COMMIT")
        ((answer,),) = await asyncio.gather(submission)
        assert answer.verdict is Verdict.CREATED


async def test_what_takes_longer_than_one_may_stand_still_is_done_all_the_same(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (session, writer):
        monkeypatch.setattr(module, "IDLE_TIMEOUT", 20)
    store._writer._idle_timeout = 20  # type: ignore[union-attr]  # it was made before
    nodes = tuple(spec(f"n{number}") for number in range(10_000))
    edges = tuple(Edge("n0", node.id) for node in nodes[1:])
    (answer,) = await store.submit([Tree(TaskSpec(id="goal"), nodes, edges)])
    assert answer.verdict is Verdict.CREATED
    worker = Worker(store, "worker", ("echo",))
    assert await worker.done(await worker.claim_one()) is Answer.ACCEPTED
    goal = await store.goal("goal")
    assert goal is not None
    assert len(goal.nodes) == 10_000
    assert len(await worker.claim(100)) == 100


# -- the end -----------------------------------------------------------------------------------------------


async def test_a_store_whose_server_is_gone_is_closed_soon(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given requests that wait for a server which does not come back, for longer than this test may take
    for module in (reader, writer):
        monkeypatch.setattr(module, "PATIENCE", 1_000.0)
    store = PostgresStore(own_server.url(own_server.create_database()))
    await store.open()
    await asyncio.to_thread(own_server.kill)
    waiting = [
        asyncio.ensure_future(verb) for verb in (store.submit([Tree(spec("a"))]), store.task("a"), store.stats())
    ]
    await asyncio.sleep(0.1)
    # When the store is closed, it does not wait as long as they would, and they are told
    await store.close()
    for told in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(told, StoreUnavailable)
