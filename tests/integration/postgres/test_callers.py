"""Submitting inside the caller's own transaction: whose, how long it may take, and what others notice of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from tenuto.errors import InvalidInput
from tenuto.stores.base import Submission, TimeToLive, Verdict
from tenuto.stores.postgres import PostgresStore
from tenuto.stores.postgres.roles import grant
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.outcome import Answer
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.signal import Delivery, Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec, Unique
from tests.conformance.ear import Ear, ready
from tests.conformance.stage import Worker, spec
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def store(server: PostgresServer, database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(server.url(database))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def orders(server: PostgresServer, database: str) -> str:
    """The URL of a database with a table of the caller's own."""
    with server.connect(database) as admin:
        admin.execute("CREATE TABLE orders (number integer PRIMARY KEY)")
    return server.url(database)


async def stored(store: PostgresStore, *ids: str) -> list[str]:
    return [each for each in ids if await store.task(each) is not None]


def engine_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


# -- connections of every kind -----------------------------------------------------------------------------


async def test_psycopg(store: PostgresStore, orders: str) -> None:
    with psycopg.connect(orders) as connection:
        await store.submit([Tree(spec("first"))], connection=connection)  # it begins the transaction
        connection.execute("INSERT INTO orders VALUES (1)")
        assert await stored(store, "first") == []
        connection.commit()
        assert await stored(store, "first") == ["first"]
        with connection.transaction():
            await store.submit([Tree(spec("second"))], connection=connection)
        assert await stored(store, "second") == ["second"]
        await store.submit([Tree(spec("third"))], connection=connection)
        connection.rollback()
        assert await stored(store, "third") == []


async def test_psycopg_asynchronous(store: PostgresStore, orders: str) -> None:
    async with await psycopg.AsyncConnection.connect(orders) as connection:
        await store.submit([Tree(spec("first"))], connection=connection)
        await connection.execute("INSERT INTO orders VALUES (1)")
        await connection.commit()
        await store.submit([Tree(spec("second"))], connection=connection)
        await connection.rollback()
    assert await stored(store, "first", "second") == ["first"]


async def test_psycopg_with_rows_of_another_shape(store: PostgresStore, orders: str) -> None:
    with psycopg.connect(orders, row_factory=psycopg.rows.dict_row, cursor_factory=psycopg.ClientCursor) as connection:
        await store.submit([Tree(spec("first"))], connection=connection)
    assert await stored(store, "first") == ["first"]


async def test_sqlalchemy(store: PostgresStore, orders: str) -> None:
    engine = sqlalchemy.create_engine(engine_url(orders))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO orders VALUES (1)"))
        await store.submit([Tree(spec("first"))], connection=connection)
        assert await stored(store, "first") == []
    with engine.connect() as connection:
        await store.submit([Tree(spec("second"))], connection=connection)
        connection.commit()
    with engine.connect() as connection:
        await store.submit([Tree(spec("third"))], connection=connection)  # never committed
    with Session(engine) as session:
        await store.submit([Tree(spec("fourth"))], connection=session)
        session.execute(sqlalchemy.text("INSERT INTO orders VALUES (2)"))
        session.commit()
        await store.submit([Tree(spec("fifth"))], connection=session)
        session.rollback()
    engine.dispose()
    assert await stored(store, "first", "second", "third", "fourth", "fifth") == ["first", "second", "fourth"]


async def test_a_connection_of_another_kind_is_refused(
    store: PostgresStore, server: PostgresServer, orders: str
) -> None:
    elsewhere = sqlalchemy.create_engine("sqlite://")
    with elsewhere.begin() as other, pytest.raises(InvalidInput, match=r"must be one of psycopg 3.*not sqlite3"):
        await store.submit([Tree(spec())], connection=other)
    elsewhere.dispose()
    failed = psycopg.connect(orders)
    with pytest.raises(psycopg.errors.UndefinedTable):
        failed.execute("SELECT * FROM nothing")
    with pytest.raises(InvalidInput, match="roll it back"):
        await store.submit([Tree(spec())], connection=failed)
    failed.close()
    with pytest.raises(InvalidInput, match="closed"):
        await store.submit([Tree(spec())], connection=failed)
    with server.connect() as other_database, other_database.transaction():
        with pytest.raises(InvalidInput, match="another database"):
            await store.submit([Tree(spec())], connection=other_database)
        other_database.execute("SELECT 1")  # what the caller does in its transaction goes on
    assert await stored(store, "task-1") == []


# -- the caller's transaction ------------------------------------------------------------------------------


async def test_a_failed_submission_leaves_the_callers_transaction_as_it_was(store: PostgresStore, orders: str) -> None:
    with psycopg.connect(orders) as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        await store.submit([Tree(spec("first"))], connection=connection)
        many = Tree(TaskSpec(id="goal"), tuple(spec(f"n{number}") for number in range(3_000)))
        with pytest.raises(InvalidInput, match="at most"):
            await store.submit([many], connection=connection)
        await store.submit([Tree(spec("second"))], connection=connection)
    assert await stored(store, "first", "goal", "second") == ["first", "second"]


async def test_a_savepoint_of_the_caller_takes_its_submission_with_it(store: PostgresStore, orders: str) -> None:
    with psycopg.connect(orders) as connection:
        await store.submit([Tree(spec("kept"))], connection=connection)
        connection.execute("SAVEPOINT mine")
        await store.submit([Tree(spec("undone"))], connection=connection)
        connection.execute("ROLLBACK TO mine")
        (again,) = await store.submit([Tree(spec("undone", agent="other"))], connection=connection)
        assert again.verdict is Verdict.CREATED
    assert await stored(store, "kept", "undone") == ["kept", "undone"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
async def test_an_old_snapshot_of_the_caller_hides_nothing(store: PostgresStore, orders: str, level: str) -> None:
    with psycopg.connect(orders, autocommit=True) as connection:
        connection.execute(f"BEGIN ISOLATION LEVEL {level}".encode())
        connection.execute("SELECT count(*) FROM orders")
        await store.submit([Tree(spec("taken", agent="first"))])
        answers = await store.submit([Tree(spec("taken", agent="other")), Tree(spec("new"))], connection=connection)
        assert [each.verdict for each in answers] == [Verdict.CONFLICT, Verdict.CREATED]
        connection.execute("COMMIT")
    assert await stored(store, "taken", "new") == ["taken", "new"]


@pytest.mark.parametrize("text", ["half of a pair: \ud800", "nothing: \0"])
@pytest.mark.parametrize("field", ["id", "title", "owner", "idempotency_key", "agent"])
async def test_text_that_cannot_be_stored_harms_nobody(
    store: PostgresStore, orders: str, field: str, text: str
) -> None:
    tree = Tree(spec(**({"id": "odd"} | {field: text})))
    here = await accepted(store.submit([tree]))
    with psycopg.connect(orders) as connection:
        assert await accepted(store.submit([tree], connection=connection)) == here
        await store.submit([Tree(spec("good"))], connection=connection)
    assert await stored(store, "good") == ["good"]


async def accepted(submission: Awaitable[Sequence[Submission]]) -> bool:
    try:
        return (await submission)[0].verdict in {Verdict.CREATED, Verdict.EXISTING}
    except InvalidInput:
        return False


# -- others ------------------------------------------------------------------------------------------------


async def test_a_caller_that_keeps_its_transaction_open_holds_nobody_up(
    store: PostgresStore, server: PostgresServer, database: str, orders: str
) -> None:
    other = PostgresStore(server.url(database))
    await other.open()
    with psycopg.connect(orders) as slow, psycopg.connect(orders) as quick:
        await store.submit([Tree(spec("slow"))], connection=slow)
        for number in range(50):
            await store.submit([Tree(spec(f"here-{number}"))])
            await other.submit([Tree(spec(f"there-{number}"))])
            await store.submit([Tree(spec(f"quick-{number}"))], connection=quick)
            quick.commit()
        assert (await other.stats())[State.READY] == 150
        slow.commit()
    assert (await other.stats())[State.READY] == 151
    await other.close()


async def test_names_of_an_open_transaction_belong_to_it(store: PostgresStore, orders: str) -> None:
    goal = Tree(TaskSpec(id="goal"), (spec("a"), spec("b")), (Edge("a", "b"),))
    keyed = Tree(spec("keyed", idempotency_key="k"))
    with psycopg.connect(orders) as first, psycopg.connect(orders) as second:
        await store.submit([goal, keyed], connection=first)
        rivals = [Tree(spec("a")), Tree(spec("goal")), Tree(spec("other", idempotency_key="k")), Tree(spec("free"))]
        expected = [Verdict.CONFLICT, Verdict.CONFLICT, Verdict.CONFLICT, Verdict.CREATED]
        told = await store.submit(rivals, connection=second)
        assert [each.verdict for each in told] == expected
        assert "still open" in told[0].detail
        second.rollback()
        assert [each.verdict for each in await store.submit(rivals)] == expected
        first.rollback()
        assert [each.verdict for each in await store.submit(rivals[:3])] == [Verdict.CREATED] * 3


async def test_a_unique_key_of_an_open_transaction_is_not_taken_back_by_a_retry(
    store: PostgresStore, orders: str
) -> None:
    unique = Unique("k")
    await store.submit([Tree(spec("before", unique=unique))])
    await store.signal([Signal("before", SignalKind.CANCEL)])
    with psycopg.connect(orders) as connection:
        (mine,) = await store.submit([Tree(spec("mine", unique=unique))], connection=connection)
        assert mine.verdict is Verdict.CREATED
        retry = Signal("before", SignalKind.RETRY)
        (refused,) = await store.signal([retry])
        assert refused.delivery is Delivery.REFUSED
        assert "still open" in refused.detail
        connection.rollback()
        (accepted,) = await store.signal([retry])
        assert accepted.delivery is Delivery.ACCEPTED


async def test_a_unique_key_of_an_open_transaction_is_not_taken_by_a_schedule(
    store: PostgresStore, orders: str
) -> None:
    await store.put_schedule(Schedule(name="often", task=spec("", unique=Unique("k")), every=1_000))
    with psycopg.connect(orders) as connection:
        await store.submit([Tree(spec("mine", unique=Unique("k")))], connection=connection)
        async with asyncio.timeout(60):
            swept = await store.sweep(10, TimeToLive())
            while not swept.changed:
                swept = await store.sweep(10, TimeToLive())
        assert swept.fired == 0
    assert await stored(store, "mine") == ["mine"]


async def test_what_was_answered_is_stored_whoever_holds_the_key_by_then(store: PostgresStore, orders: str) -> None:
    waiting = Unique("k", (State.WAITING,))
    await store.submit([Tree(spec("other", unique=waiting))])
    worker = Worker(store, "worker", ("echo",))
    lease = await worker.claim_one()
    with psycopg.connect(orders) as connection:
        (mine,) = await store.submit([Tree(spec("mine", unique=waiting))], connection=connection)
        assert mine.verdict is Verdict.CREATED
        assert await worker.wait(lease, "event:go") is Answer.ACCEPTED
    assert await stored(store, "mine") == ["mine"]


async def test_a_large_goal_beside_an_open_transaction() -> None:
    """It does not take a lock for each of its names: a server has room for some thousands."""
    with PostgresServer(settings={"max_connections": 20}) as server:
        store = PostgresStore(server.url())
        await store.open()
        with psycopg.connect(server.url()) as connection:
            await store.submit([Tree(spec("open"))], connection=connection)
            nodes = tuple(spec(f"n{number}") for number in range(15_000))
            (large,) = await store.submit([Tree(TaskSpec(id="goal"), nodes)])
            assert large.verdict is Verdict.CREATED
        await store.close()


async def test_what_was_answered_holds_when_the_caller_commits(store: PostgresStore, orders: str) -> None:
    with psycopg.connect(orders) as connection:
        (told,) = await store.submit([Tree(spec("mine", agent="first"))], connection=connection)
        assert told.verdict is Verdict.CREATED

        async def rival() -> None:
            while (await store.submit([Tree(spec("mine", agent="rival"))]))[0].verdict is Verdict.CREATED:
                raise AssertionError("the name was taken")

        rivals = [asyncio.create_task(rival()) for _ in range(5)]
        await asyncio.to_thread(connection.commit)
        await asyncio.gather(*rivals)
    task = await store.task("mine")
    assert task is not None
    assert task.agent == "first"


async def test_others_start_within_milliseconds_of_the_commit(
    store: PostgresStore, server: PostgresServer, database: str, orders: str
) -> None:
    other = PostgresStore(server.url(database))
    await other.open()
    ear = Ear(other)
    delays = []
    with psycopg.connect(orders) as connection:
        for number in range(20):
            agent = f"agent-{number}"
            await store.submit([Tree(spec(f"t{number}", agent=agent))], connection=connection)
            begun = time.monotonic()
            connection.commit()
            await ear.until(ready(agent))
            delays.append(time.monotonic() - begun)
    ear.stop()
    await other.close()
    assert sorted(delays)[10] < 0.1, "hinted, not polled"


async def test_without_the_store_that_submitted_another_one_admits(
    store: PostgresStore, server: PostgresServer, database: str, orders: str
) -> None:
    connection = psycopg.connect(orders)
    await store.submit([Tree(spec("left"))], connection=connection)
    await store.close()
    connection.commit()
    connection.close()
    other = PostgresStore(server.url(database))
    await other.open()
    assert await stored(other, "left") == ["left"]
    await other.close()


async def test_an_arrival_that_cannot_be_read_stops_nobody(
    store: PostgresStore, server: PostgresServer, orders: str, database: str
) -> None:
    with psycopg.connect(orders) as stranger:
        stranger.execute('INSERT INTO tenuto.arrival (trees) VALUES (\'[{"of":"another release"}]\')')
    with psycopg.connect(orders) as connection:
        await store.submit([Tree(spec("good"))], connection=connection)
    assert await stored(store, "good") == ["good"]
    with server.connect(database) as admin:
        rows = admin.execute("SELECT trouble IS NOT NULL FROM tenuto.arrival").fetchall()
    assert rows == [(True,)]


async def test_the_role_of_everyday_work_may_do_it(own_server: PostgresServer) -> None:
    with own_server.connect() as admin:
        admin.execute("CREATE ROLE hand LOGIN PASSWORD 'h'")
    owner = PostgresStore(own_server.url())
    await owner.open()
    await owner.close()
    grant(own_server.url(), "hand")
    url = own_server.url(tcp=True, user="hand", password="h")
    store = PostgresStore(url)
    await store.open()
    with psycopg.connect(url) as connection:
        await store.submit([Tree(spec("mine"))], connection=connection)
    assert await stored(store, "mine") == ["mine"]
    await store.close()
