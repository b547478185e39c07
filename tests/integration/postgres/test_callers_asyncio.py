"""Submitting inside a transaction of SQLAlchemy's asyncio connections and sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from tenuto.errors import InvalidInput
from tenuto.stores.postgres import PostgresStore
from tenuto.tasks.goal import Tree
from tests.conformance.stage import spec
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def store(server: PostgresServer, database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(server.url(database))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def engine(server: PostgresServer, database: str) -> AsyncIterator[AsyncEngine]:
    """Of a database with a table of the caller's own."""
    with server.connect(database) as admin:
        admin.execute("CREATE TABLE orders (number integer PRIMARY KEY)")
    engine = create_async_engine(server.url(database).replace("postgresql:", "postgresql+psycopg:", 1))
    yield engine
    await engine.dispose()


async def stored(store: PostgresStore, *ids: str) -> list[str]:
    return [each for each in ids if await store.task(each) is not None]


async def test_a_connection(store: PostgresStore, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(sqlalchemy.text("INSERT INTO orders VALUES (1)"))
        await store.submit([Tree(spec("first"))], connection=connection)
        assert await stored(store, "first") == []
    async with engine.connect() as connection:
        await store.submit([Tree(spec("second"))], connection=connection)
        await connection.commit()
    async with engine.connect() as connection:
        await store.submit([Tree(spec("third"))], connection=connection)  # never committed
    assert await stored(store, "first", "second", "third") == ["first", "second"]


async def test_a_session(store: PostgresStore, engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        await store.submit([Tree(spec("first"))], connection=session)
        await session.execute(sqlalchemy.text("INSERT INTO orders VALUES (1)"))
        assert await stored(store, "first") == []
        await session.commit()
        await store.submit([Tree(spec("second"))], connection=session)
        await session.rollback()
    assert await stored(store, "first", "second") == ["first"]


async def test_one_that_is_not_open_yet_is_refused(store: PostgresStore, engine: AsyncEngine) -> None:
    with pytest.raises(InvalidInput, match="not open yet"):
        await store.submit([Tree(spec())], connection=engine.connect())
