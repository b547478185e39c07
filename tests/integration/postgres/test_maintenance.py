"""Looking after the store, from Python and from a shell."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tenuto.errors import NotFound, StoreError
from tenuto.stores.postgres import PostgresStore
from tenuto.stores.postgres.roles import grant
from tenuto.tasks.goal import Tree
from tenuto.tasks.money import Amount, Reserve, Settle
from tests.conformance.stage import Stage, VirtualClock, spec
from tests.integration.cli.program import Program
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def stage(server: PostgresServer, database: str) -> AsyncIterator[Stage]:
    clock = VirtualClock()
    store = PostgresStore(server.url(database), clock=clock)
    await store.open()
    yield Stage(store, clock)
    await store.close()


@pytest.fixture
def tenuto(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    for process in program.started:
        process.kill()
        process.communicate()


def kept(stage: Stage) -> PostgresStore:
    assert isinstance(stage.store, PostgresStore)
    return stage.store


async def test_info_says_what_there_is(stage: Stage, database: str) -> None:
    await stage.add(spec("one"), spec("two"))
    info = await kept(stage).info()
    assert (info["database"], info["namespace"], info["tasks"], info["events"]) == (database, "tenuto", 2, 2)
    assert info["schema"] == info["latest_schema"]
    assert info["bytes"] > 8_192
    assert info["durability"].startswith("fsync is off"), "as the tests' server is set"


async def test_durability_is_told_as_the_server_is_set() -> None:
    with PostgresServer(fsync=True) as server:
        store = PostgresStore(server.url())
        assert "a failover to a standby can lose" in (await store.info())["durability"]
        with server.connect() as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'second'")
            admin.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 20
        while "synchronous standbys (second)" not in (await store.info())["durability"]:
            assert time.monotonic() < deadline


async def test_there_is_nothing_to_check_where_there_is_no_store(server: PostgresServer, database: str) -> None:
    store = PostgresStore(server.url(database))
    assert (await store.info())["schema"] == 0
    for what in (store.check, store.compact):
        with pytest.raises(NotFound, match="there is no Tenuto store"):
            await what()


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM tenuto.spec", "lost what was submitted"),
        ("DELETE FROM tenuto.task", "belong to no task"),
        ("DELETE FROM tenuto.lane", "stand in no lane"),
        ("UPDATE tenuto.lane SET open = false", "claims do not look at"),
        ("DELETE FROM tenuto.event", "not all of their events"),
        ("UPDATE tenuto.task SET state = 5", "have no lease"),
        ("INSERT INTO tenuto.wait (topic, task) VALUES ('x', 1)", "tasks that do not wait"),
        ("UPDATE tenuto.allowance SET used = 7", "other slots than are held"),
        ("DELETE FROM tenuto.call", "other calls than are in their ledgers"),
        ("UPDATE tenuto.count SET money = money + 1", "other calls than are in their ledgers"),
        ("UPDATE tenuto.spec SET root = 999 WHERE id = 'a'", "lost their root"),
        ("INSERT INTO tenuto.arrival (trees, trouble) VALUES ('?', 'no JSON')", "could not be read"),
    ],
)
async def test_damage_is_found(stage: Stage, server: PostgresServer, database: str, damage: str, finding: str) -> None:
    await stage.limit("db", concurrency=1)
    await stage.add(spec("held", agent="other", limits=("db",)))
    await stage.add_goal("a b", "a>b")
    worker = stage.worker("other")
    calls = Settle("c", Amount(3)), Settle("d"), Settle("e", Amount(0, 1))
    await worker.record(await worker.claim_one(), settles=calls, reserves=(Reserve("f", Amount(5)),))
    assert await kept(stage).check() == []
    with server.connect(database) as admin:
        admin.execute(damage.encode())
    assert finding in " ".join(await kept(stage).check())


async def test_compacting_forgets_owners_who_are_gone(stage: Stage, server: PostgresServer, database: str) -> None:
    for number in range(20):
        await stage.add(spec(f"t{number}", owner=f"owner-{number}"))
    await stage.add(*(spec(f"last-{number}", owner="last") for number in range(5)))  # virtual time passes the others
    worker = stage.worker()
    await worker.run_all()
    await stage.after(1_000)
    assert await stage.store.purge(stage.clock.now) == 25
    assert (await kept(stage).info())["lanes"] == 21
    await kept(stage).compact()
    assert (await kept(stage).info())["lanes"] < 21
    await stage.add(spec("again", owner="owner-3"))
    assert await worker.ids() == ["again"], "who remembered the lanes reads them anew"


async def test_only_the_owner_compacts(own_server: PostgresServer) -> None:
    with own_server.connect() as admin:
        admin.execute("CREATE ROLE hand LOGIN PASSWORD 'h'")
    store = PostgresStore(own_server.url())
    await store.open()
    await store.submit([Tree(spec())])
    await store.close()
    grant(own_server.url(), "hand")
    hand = PostgresStore(own_server.url(tcp=True, user="hand", password="h"))
    assert await hand.check() == []
    assert (await hand.info())["tasks"] == 1
    with pytest.raises(StoreError, match="only by the owner"):
        await hand.compact()


def test_from_a_shell(tenuto: Program, own_server: PostgresServer) -> None:
    with own_server.connect() as admin:
        admin.execute("CREATE ROLE hand LOGIN PASSWORD 'hidden'")
    owner = own_server.url()
    hand = own_server.url(tcp=True, user="hand", password="hidden")
    assert tenuto("store", "check", "--store", owner, code=3).err.startswith("tenuto: there is no Tenuto store")
    assert tenuto("store", "migrate", "--store", owner).out.startswith("Schema 0 is now")
    assert tenuto("store", "migrate", "--store", owner).out.startswith("The schema is up to date")
    assert "tenuto store grant" in tenuto("task", "list", "--store", hand, code=6).err
    assert tenuto("store", "grant", "hand", "--store", owner).out == "hand can work with this store.\n"
    assert tenuto("store", "grant", "nobody", "--store", owner, code=2).err.count("\n") == 1

    for number in range(3):
        tenuto.submit("double", number, "--id", f"t{number}", "--store", hand)
    info = tenuto("store", "info", "--format", "json", "--store", hand)
    assert (info.json["tasks"]["ready"], info.json["engine"]["tasks"]) == (3, 3)
    assert "hidden" not in info.out
    assert "fsync is off" in tenuto("store", "info", "--store", hand).out
    assert tenuto("store", "check", "--store", hand).out == "Sound.\n"
    assert "is now" in tenuto("store", "compact", "--store", owner).out
    assert "no roles" in tenuto("store", "grant", "hand", code=2).err
    assert "hidden" not in tenuto("task", "list", "--store", hand.replace("hidden", "hidden-wrong"), code=6).err
