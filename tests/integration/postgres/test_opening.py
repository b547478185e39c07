"""Opening: what a URL may name, who may use it, and one sentence for each thing that is wrong with it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from tenuto.errors import (
    InvalidInput,
    NotFound,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreReadOnly,
    StoreTooNew,
    StoreUnavailable,
)
from tenuto.stores import open_store
from tenuto.stores.postgres import PostgresStore, schema
from tenuto.stores.postgres.connection import Address, connect
from tenuto.stores.postgres.errors import translated
from tenuto.stores.postgres.roles import grant, grants
from tenuto.tasks.goal import Tree
from tenuto.tasks.states import State
from tests.conformance.stage import spec
from tests.servers.postgres import PostgresServer, installations
from tests.servers.strangers import silent_address, talker

PATIENCE = 60.0


async def used(url: str) -> None:
    """Opens the store, stores a task, reads it, and closes the store."""
    store = open_store(url)
    await store.open()
    try:
        await store.submit([Tree(spec())])
        assert await store.task("task-1") is not None
    finally:
        await store.close()


def tables(server: PostgresServer, database: str, schema: str = "tenuto") -> int:
    with server.connect(database) as admin:
        row = admin.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", [schema]).fetchone()
    assert row is not None
    return int(row[0])


# -- what works --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", installations())
async def test_every_version_that_is_there(version: int) -> None:
    with PostgresServer(version) as server:
        await used(server.url(tcp=True))


async def test_several_stores_in_one_database(server: PostgresServer, database: str) -> None:
    for name in ("tenuto", "second", "third_3"):
        await used(server.url(database, schema=name))
        assert tables(server, database, name) > 5


async def test_programs_that_start_at_once_are_harmless(server: PostgresServer, database: str) -> None:
    stores = [PostgresStore(server.url(database)) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    assert tables(server, database) > 5
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_process_that_was_forked_opens_anew(server: PostgresServer, database: str) -> None:
    store = PostgresStore(server.url(database))
    await store.open()

    def child() -> int:
        async def life() -> int:
            with pytest.raises(StoreClosed):
                await store.stats()
            await store.open()
            await store.submit([Tree(spec("from-the-child"))])
            await store.close()
            return 0

        return asyncio.run(life())

    assert await in_a_fork(child) == 0
    assert await store.task("from-the-child") is not None, "the parent's connections are as they were"
    await store.close()


async def in_a_fork(work: Callable[[], int]) -> int:
    """The exit code of a forked process that does `work`."""

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = work()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(fork()))  # outside the event loop that runs here
    thread.start()
    await asyncio.to_thread(thread.join, PATIENCE)
    return result[0]


# -- who may -----------------------------------------------------------------------------------------------


async def test_a_role_with_the_least_rights_can_work(own_server: PostgresServer) -> None:
    with own_server.connect() as admin:
        admin.execute("CREATE ROLE boss LOGIN PASSWORD 'b'")
        admin.execute("CREATE ROLE hand LOGIN PASSWORD 'h'")
        admin.execute("CREATE DATABASE work OWNER boss")
    owner = own_server.url("work", tcp=True, user="boss", password="b")
    hand = own_server.url("work", tcp=True, user="hand", password="h")

    with pytest.raises(StoreError, match="lacks a right: permission denied for database"):
        await used(hand)
    assert tables(own_server, "work") == 0, "nothing is half made"
    with pytest.raises(NotFound, match="tenuto store migrate"):
        grant(owner, "hand")
    store = PostgresStore(owner)
    await store.open()
    await store.close()
    with pytest.raises(StoreError, match="tenuto store grant"):
        await used(hand)
    with pytest.raises(InvalidInput, match="no role 'nobody'"):
        grant(owner, "nobody")
    grant(owner, "hand")
    await used(hand)

    with closing(connect(Address.of(hand))) as connection:
        for forbidden in (
            "CREATE TABLE tenuto.mine (n int)",
            "DROP TABLE tenuto.task",
            "ALTER TABLE tenuto.task ADD extra int",
            "TRUNCATE tenuto.task",
            "DELETE FROM tenuto.tenuto_migration",
        ):
            with pytest.raises(StoreError, match="lacks a right"), translated("x"):
                connection.execute(forbidden.encode())


def test_the_documented_rights_are_those_that_are_granted(server: PostgresServer) -> None:
    page = (Path(__file__).parents[3] / "docs" / "postgres.md").read_text(encoding="utf-8")
    with closing(connect(Address.of(server.url()))) as connection:
        granted = grants(connection, "tenuto", "tenuto_worker").decode()
    assert granted.replace('"tenuto_worker"', "tenuto_worker") in page


async def test_rights_that_are_missing_are_told_when_the_store_is_opened(own_server: PostgresServer) -> None:
    await used(own_server.url())
    with own_server.connect() as admin:
        admin.execute("CREATE ROLE hand LOGIN PASSWORD 'h'")
    grant(own_server.url(), "hand")
    with own_server.connect() as admin:
        admin.execute("REVOKE DELETE ON tenuto.task FROM hand")
    with pytest.raises(StoreError, match="may not read and write task"):
        await used(own_server.url(tcp=True, user="hand", password="h"))


# -- what is wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "kind", "why"),
    [
        ({"password": "wrong-secret", "user": "postgres"}, StoreError, "Check user and password"),
        ({"user": "stranger", "password": "wrong-secret"}, StoreError, "Check user and password"),
        ({"database": "elsewhere"}, StoreError, "has no such database"),
        ({"sslmode": "require"}, StoreError, "over TLS"),
        ({"options": "-c colour=red"}, StoreError, "setting of the URL"),
        ({"options": "-c default_transaction_read_only=on"}, StoreReadOnly, "read-only by default"),
        ({"options": "-c search_path=pg_catalog"}, None, ""),
    ],
)
async def test_what_the_server_refuses(
    server: PostgresServer, database: str, wrong: dict[str, str], kind: type[StoreError] | None, why: str
) -> None:
    parts = {"database": database, **wrong}
    url = server.url(parts.pop("database"), tcp=True, **parts)
    if kind is None:
        await used(url)
        return
    with pytest.raises(kind, match=why) as caught:
        await used(url)
    told = str(caught.value)
    assert "secret" not in told
    assert "\n" not in told
    assert not isinstance(caught.value, StoreUnavailable), "waiting does not help"


@pytest.mark.parametrize("where", ["port", "host", "socket"])
async def test_a_server_that_cannot_be_reached(server: PostgresServer, where: str) -> None:
    url = {
        "port": "postgresql://ann:secret@127.0.0.1:1/name",
        "host": "postgresql://ann:secret@nowhere.invalid/name",
        "socket": "postgresql:///name?host=/nowhere",
    }[where]
    with pytest.raises(StoreUnavailable, match=r"Check (that the server runs|the host)") as caught:
        await used(url)
    assert "secret" not in str(caught.value)


async def test_something_else_listens() -> None:
    with (
        talker(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port,
        pytest.raises(StoreError, match="does not speak the protocol of PostgreSQL") as caught,
    ):
        await used(f"postgresql://ann:secret@127.0.0.1:{port}/app")
    assert not isinstance(caught.value, StoreUnavailable)


async def test_an_address_that_takes_no_connections_is_not_waited_for_for_ever() -> None:
    with silent_address() as port, pytest.raises(StoreUnavailable, match="cannot be reached"):
        await used(f"postgresql://ann:secret@127.0.0.1:{port}/app?connect_timeout=2")


async def test_no_connection_left() -> None:
    with PostgresServer(settings={"max_connections": 4, "superuser_reserved_connections": 0}) as server:
        taken = [server.connect() for _ in range(4)]
        with pytest.raises(StoreUnavailable, match="max_connections"):
            await used(server.url())
        for connection in taken:
            connection.close()
        await eventually(lambda: used(server.url(schema="again")))


async def eventually(work: Callable[[], Awaitable[None]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await work()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def test_another_programs_schema_is_left_alone(server: PostgresServer, database: str) -> None:
    with server.connect(database) as admin:
        admin.execute("CREATE TABLE public.theirs (n int)")
    with pytest.raises(StoreCorrupt, match="another program"):
        await used(server.url(database, schema="public"))
    assert tables(server, database, "public") == 1


async def test_a_schema_of_a_newer_release_is_left_alone(server: PostgresServer, database: str) -> None:
    await used(server.url(database))
    with server.connect(database) as admin:
        admin.execute("INSERT INTO tenuto.tenuto_migration (number, release) VALUES (99, '9.9')")
    with pytest.raises(StoreTooNew, match="schema 99"):
        await used(server.url(database))


async def test_a_migration_that_fails_leaves_nothing(
    server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (*schema.migrations(), (98, "CREATE TABLE tenuto.fine (n int); CREATE TABLE tenuto.fine (n int);"))
    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrations", lambda: broken)
        with pytest.raises(StoreError, match="already exists"):
            await used(server.url(database))
    assert tables(server, database) == 0
    await used(server.url(database))


async def test_an_older_schema_is_brought_up_to_date(
    server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(server.url(database))
    await store.open()
    before = tables(server, database)
    newer = (*schema.migrations(), (98, "CREATE TABLE tenuto.extra (n int);"))
    monkeypatch.setattr(schema, "migrations", lambda: newer)
    await used(server.url(database))
    assert tables(server, database) == before + 1
    assert (await store.stats())[State.READY] == 1, "who had it open works on"
    await store.close()


async def test_a_standby_is_refused(own_server: PostgresServer) -> None:
    with own_server.standby() as standby:
        with pytest.raises(StoreReadOnly, match="standby"):
            await used(standby.url())
        standby.promote()
        await used(standby.url())


async def test_a_database_with_another_encoding(own_server: PostgresServer) -> None:
    with own_server.connect() as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match="ENCODING 'UTF8'"):
        await used(own_server.url("latin"))


# -- a server that does not answer -------------------------------------------------------------------------


def test_a_wait_for_an_answer_has_an_end(own_server: PostgresServer) -> None:
    with closing(connect(Address.of(own_server.url(tcp=True)))) as connection:
        connection.patience = 0.2
        own_server.freeze()
        try:
            with pytest.raises(StoreUnavailable, match=r"no answer within 0\.2 seconds"), translated("x"):
                connection.execute("SELECT 1")
        finally:
            own_server.thaw()
        assert connection.closed


def test_a_server_that_died_is_noticed(own_server: PostgresServer) -> None:
    with closing(connect(Address.of(own_server.url(tcp=True)))) as connection:
        own_server.kill()
        with pytest.raises(StoreUnavailable, match=r"went away|Check that the server"), translated("x"):
            connection.execute("SELECT 1")
