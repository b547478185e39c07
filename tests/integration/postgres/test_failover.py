"""A standby is promoted that does not have the latest of its primary: what is remembered and what comes next hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from tenuto.stores.postgres import PostgresStore
from tenuto.tasks.goal import Tree
from tests.conformance.stage import Stage, VirtualClock, spec
from tests.servers.pooler import TransactionPooler
from tests.servers.postgres import PostgresServer

_HOUR = 3_600_000
_PATIENCE = 60.0


class Pair:
    """A primary, and a standby that does not hear from it any more."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary, self.standby = primary, standby
        self.database = primary.create_database()

    def fall_behind(self) -> None:
        """Once it has everything, the standby gets nothing more."""
        with self.primary.connect() as admin:
            (here,) = admin.execute("SELECT pg_current_wal_lsn()").fetchone() or ("",)
        with self.standby.connect() as admin:
            while admin.execute("SELECT pg_last_wal_replay_lsn() >= %s", (here,)).fetchone() != (True,):
                pass
        self.standby.stop()

    def fail_over(self) -> None:
        """The primary dies, and the standby takes its place."""
        self.primary.kill()
        self.standby.start()
        self.standby.promote()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with PostgresServer() as primary, contextlib.closing(primary.standby()) as standby:
        standby.start()
        yield Pair(primary, standby)


async def test_who_does_not_notice_a_failover_hears_what_arrives_on_the_new_server(pair: Pair) -> None:
    # Given a store behind a pooler, which knows up to which transaction everything has arrived on its server
    with TransactionPooler(pair.primary) as pooler:
        store = PostgresStore(pooler.url(pair.database))
        await store.open()
        await store.submit([Tree(spec("first"))])
        await asyncio.to_thread(pair.fall_behind)
        with pair.primary.connect() as admin:
            for _ in range(200):
                admin.execute("SELECT pg_current_xact_id()")
        await store.submit([Tree(spec("lost"))])
        assert await store.task("lost") is not None
        # When the pooler leads to the standby, where numbers of transactions begin lower
        await asyncio.to_thread(pair.fail_over)
        pooler.follow(pair.standby)
        other = PostgresStore(pair.standby.url(pair.database))
        await other.open()
        with psycopg.connect(pair.standby.url(pair.database)) as connection:
            await other.submit([Tree(spec("arrived"))], connection=connection)
            await other.close()
        # Then what a caller has committed there is found
        async with asyncio.timeout(_PATIENCE):
            assert await store.task("arrived") is not None
            assert await store.task("lost") is None
            claimed = await Stage(store, VirtualClock()).worker().ids()
        assert sorted(claimed) == ["arrived", "first"]
        await store.close()


async def test_no_reader_misses_what_a_server_whose_clock_is_behind_writes_after_a_failover(pair: Pair) -> None:
    # Given a reader that has seen events which the standby did not get
    clock = VirtualClock()
    store = PostgresStore(pair.primary.url(pair.database), clock=clock)
    await store.open()
    await Stage(store, clock).add(spec("first"))
    await asyncio.to_thread(pair.fall_behind)
    clock.move(_HOUR)
    await Stage(store, clock).add(spec("lost"))
    seen = await store.events()
    assert [event.task_id for event in seen.events] == ["first", "lost"]
    await store.close()
    # When the standby takes over, and its clock is hours behind
    await asyncio.to_thread(pair.fail_over)
    clock.move(-2 * _HOUR)
    store = PostgresStore(pair.standby.url(pair.database), clock=clock)
    await store.open()
    await Stage(store, clock).add(spec("next"))
    # Then what happens there is ahead of the reader's cursor
    assert [event.task_id for event in (await store.events(seen.cursor)).events] == ["next"]
    await store.close()
