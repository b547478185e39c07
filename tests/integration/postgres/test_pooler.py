"""Through a pooler in transaction mode: nothing relies on the state of a session."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from tenuto.errors import StoreError
from tenuto.stores.postgres import PostgresStore
from tenuto.tasks.goal import Tree
from tenuto.tasks.outcome import Answer, Step
from tenuto.tasks.states import State
from tests.conformance.stage import LEASE, Stage, VirtualClock, spec
from tests.servers.pooler import TransactionPooler
from tests.servers.postgres import PostgresServer


@pytest.fixture
def pooler(server: PostgresServer) -> Iterator[TransactionPooler]:
    with TransactionPooler(server) as pooler:
        yield pooler


async def test_the_pooler_of_these_tests_keeps_no_session(pooler: TransactionPooler, database: str) -> None:
    url = pooler.url(database).partition("?")[0]
    with psycopg.connect(url, autocommit=True) as one, psycopg.connect(url, autocommit=True) as other:
        one.execute("SET application_name = 'mine'")
        (seen,) = other.execute("SHOW application_name").fetchone() or ("",)
    assert seen == "mine"


async def test_stores_work_through_it(
    pooler: TransactionPooler, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = VirtualClock()
    stores = [PostgresStore(pooler.url(database), clock=clock) for _ in range(3)]
    for store in stores:
        await store.open()
    stage = Stage(stores[0], clock)
    stop = [store.listen(lambda hint: None) for store in stores]
    names = [[f"t{each}-{number}" for number in range(40)] for each in range(3)]
    await asyncio.gather(
        *(store.submit([Tree(spec(name)) for name in mine]) for store, mine in zip(stores, names, strict=True))
    )
    done = await asyncio.gather(*(stage.worker(store=store).run_all() for store in stores))
    assert sorted(name for each in done for name in each) == sorted(name for mine in names for name in mine)
    assert (await stores[1].stats())[State.DONE] == 120
    for each in stop:
        each()
    for store in stores:
        await store.close()
    told = capsys.readouterr().err
    assert told.count("polling instead") == 3, "each says once that it hears nothing"
    assert pooler.backends < 12


async def test_prepared_statements_that_the_pooler_loses_are_told(pooler: TransactionPooler, database: str) -> None:
    url = pooler.url(database).replace("prepare=off", "prepare=on")
    stores = [PostgresStore(url) for _ in range(2)]

    async def use() -> None:
        for store in stores:
            await store.open()
            for number in range(10):
                await store.submit([Tree(spec(f"t{number}"))])
                await store.stats()

    with pytest.raises(StoreError, match="prepare=off"):
        await use()
    for store in stores:
        await store.close()


async def test_callers_and_own_transactions_work_through_it(
    pooler: TransactionPooler, server: PostgresServer, database: str
) -> None:
    clock = VirtualClock()
    store = PostgresStore(pooler.url(database), clock=clock)
    await store.open()
    stage = Stage(store, clock)
    with psycopg.connect(pooler.url(database).partition("?")[0]) as connection:
        await store.submit([Tree(spec("mine"))], connection=connection)
    worker = stage.worker()
    lease = await worker.claim_one()
    assert lease.task_id == "mine"

    def work(theirs: psycopg.Connection[tuple[object, ...]]) -> bytes:
        theirs.execute("CREATE TABLE bill (n integer)")
        return b"1"

    recorded = await store.transact(lease.hold, Step("pay", 0), work, LEASE)
    assert recorded.answer is Answer.ACCEPTED
    await store.close()
