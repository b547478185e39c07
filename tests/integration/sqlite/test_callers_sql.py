"""Trees inside the caller's own transaction; and what a task's own SQL may not do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tenuto.errors import InvalidInput, StoreBusy, StoreGone
from tenuto.stores.base import Claim, Exchange, Verdict
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Answer, Step
from tenuto.tasks.task import TaskSpec

LEASE = 30_000


def apsw_connection(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path))


async def test_a_tree_exists_when_the_caller_commits(store: SqliteStore, path: Path) -> None:
    goal = Tree(
        TaskSpec(id="trip"),
        nodes=(TaskSpec(id="book", agent="a"), TaskSpec(id="pack", agent="a")),
        edges=(Edge("book", "pack"),),
    )
    connection = apsw_connection(path)
    connection.execute("CREATE TABLE mine (name TEXT)")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO mine VALUES ('ann')")
    answers = await store.submit([goal, goal], connection=connection)
    assert [answer.verdict for answer in answers] == [Verdict.CREATED, Verdict.REFUSED]
    assert await store.goal("trip") is None
    connection.execute("COMMIT")
    stored = await store.goal("trip")
    assert stored is not None
    assert [node.node for node in stored.nodes] == ["book", "pack"]
    # What was submitted by the side door is claimed like any other, and its events follow those before.
    exchanged = await store.commit_and_claim(Exchange("w", 1, claim=Claim(("a",), 5, LEASE)))
    assert [lease.node for lease in exchanged.leases] == ["book"]
    assert await store.check() == []
    connection.close()


async def test_a_tree_is_gone_when_the_caller_rolls_back(
    store: SqliteStore, path: Path, tree: Callable[[str], Tree]
) -> None:
    connection = apsw_connection(path)
    connection.execute("BEGIN IMMEDIATE")
    await store.submit([tree("one")], connection=connection)
    connection.execute("ROLLBACK")
    connection.close()
    assert await store.task("one") is None
    assert (await store.submit([tree("one")]))[0].verdict is Verdict.CREATED


async def test_connections_that_will_not_do(
    store: SqliteStore, path: Path, tmp_path: Path, tree: Callable[[str], Tree]
) -> None:
    idle, other = apsw_connection(path), apsw_connection(tmp_path / "other.db")
    other.execute("BEGIN IMMEDIATE")
    for connection, why in ((idle, "no open transaction"), (other, "not connected to the store"), ("text", "not str")):
        with pytest.raises(InvalidInput, match=why):
            await store.submit([tree("one")], connection=connection)
    idle.close()
    other.close()


async def test_pythons_own_sqlite_is_refused_because_it_does_not_see_our_locks(
    store: SqliteStore, path: Path, tree: Callable[[str], Tree]
) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("BEGIN")
    with pytest.raises(InvalidInput, match=r"use apsw\.Connection"):
        await store.submit([tree("one")], connection=connection)
    connection.close()


async def test_a_log_that_another_copy_of_sqlite_removed_is_noticed_at_once(
    store: SqliteStore, path: Path, tree: Callable[[str], Tree]
) -> None:
    await store.submit([tree("one")])
    connection = sqlite3.connect(path)
    connection.execute("SELECT count(*) FROM tenuto_task").fetchall()
    connection.close()
    for _ in range(2):
        with pytest.raises(StoreGone, match="Never open the file of a store with Python's sqlite3"):
            await store.submit([tree("two")])


async def test_a_callers_transaction_that_cannot_write(
    store: SqliteStore, path: Path, tree: Callable[[str], Tree]
) -> None:
    connection = apsw_connection(path)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM tenuto_task").fetchall()
    await store.submit([tree("meanwhile")])
    with pytest.raises(StoreBusy):
        await store.submit([tree("late")], connection=connection)
    connection.execute("ROLLBACK")
    connection.close()


async def claimed(store: SqliteStore) -> Lease:
    await store.submit([Tree(TaskSpec(id="task-1", agent="a"))])
    exchanged = await store.commit_and_claim(Exchange("w", 1, claim=Claim(("a",), 1, LEASE)))
    return exchanged.leases[0]


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "ATTACH ':memory:' AS other",
        "PRAGMA user_version = 7",
        "DELETE FROM tenuto_task",
        "UPDATE tenuto_task SET state = 6",
        "DROP TABLE tenuto_event",
        "ALTER TABLE tenuto_task RENAME TO other",
        "RELEASE tenuto_transact",
        "ROLLBACK TO tenuto_transact",
    ],
)
async def test_what_a_tasks_own_sql_may_not_do(store: SqliteStore, sql: str) -> None:
    lease = await claimed(store)

    def work(connection: Any) -> bytes:
        connection.execute("CREATE TABLE mine (name TEXT)")
        connection.execute(sql)
        return b"1"

    with pytest.raises(InvalidInput, match="committed together with its step"):
        await store.transact(lease.hold, Step("pay", 0), work, LEASE)
    assert await store.journal("task-1") == []
    assert await store.check() == []

    def well(connection: Any) -> bytes:
        connection.execute("CREATE TABLE mine (name TEXT)")
        connection.execute("INSERT INTO mine VALUES (?)", ("ann",))
        return b"2"

    assert (await store.transact(lease.hold, Step("pay", 0), well, LEASE)).answer is Answer.ACCEPTED


async def test_the_connection_ends_with_its_function(store: SqliteStore) -> None:
    lease = await claimed(store)
    kept: list[Any] = []

    def work(connection: Any) -> bytes:
        kept.append(connection)
        return b"null"

    await store.transact(lease.hold, Step("keep", 0), work, LEASE)
    with pytest.raises(InvalidInput, match="over"):
        kept[0].execute("SELECT 1")
