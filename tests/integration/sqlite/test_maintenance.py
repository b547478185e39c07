"""Looking after the file: what there is, whether it is sound, and that it does not grow without bound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from msgspec import Raw

from tenuto.errors import NotFound
from tenuto.stores.base import Claim, Exchange
from tenuto.stores.sqlite import SqliteStore, maintenance, schema
from tenuto.tasks.goal import Tree
from tenuto.tasks.money import Amount, Reserve, Settle
from tenuto.tasks.outcome import Ending, Outcome, Record
from tenuto.tasks.task import ErrorRecord, TaskSpec


async def test_info_says_what_there_is(store: SqliteStore, path: Path, tree: Callable[[str], Tree]) -> None:
    await store.submit([tree("one"), tree("two")])
    info = await store.info()
    assert (info["path"], info["schema"], info["tasks"], info["events"]) == (str(path), schema.LATEST, 2, 2)
    assert info["log_bytes"] > 0


def test_there_is_nothing_to_say_about_a_store_that_is_not_there(path: Path) -> None:
    for what in (maintenance.info, maintenance.check):
        with pytest.raises(NotFound, match="there is no Tenuto store"):
            what(path)
    assert not path.exists()


async def test_a_limit_that_nobody_defined_leaves_nothing(store: SqliteStore, path: Path) -> None:
    # Given a task that names a limit without a definition
    spec = TaskSpec(id="one", agent="a", limits=("user-1",))
    await store.submit([Tree(spec)])
    (lease,) = (await store.commit_and_claim(Exchange("w", 1, (), Claim(("a",), 1, 1_000)))).leases
    assert rows(path) == [("user-1", 1)]
    # When it has ended
    await store.commit_and_claim(Exchange("w", 2, (Outcome(lease.hold, Ending.DONE, Raw(b"1")),)))
    # Then the limit is not known any more
    assert rows(path) == []
    assert await store.check() == []


def rows(path: Path) -> list[tuple[str, int]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute("SELECT key, used FROM tenuto_limit"))
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM tenuto_spec", "lost what was submitted"),
        ("UPDATE tenuto_lane SET open = 0", "claims do not look at"),
        ("DELETE FROM tenuto_event", "not all of their events"),
        ("INSERT INTO tenuto_wait VALUES ('event:x', 1)", "do not wait"),
        ("INSERT INTO tenuto_limit VALUES ('k', NULL, 3, 0.0, NULL)", "other slots than are held"),
        ("DELETE FROM tenuto_call", "other calls than are in their ledgers"),
        ("UPDATE tenuto_count SET money = money + 1", "other calls than are in their ledgers"),
    ],
)
async def test_check_finds(
    store: SqliteStore, path: Path, tree: Callable[[str], Tree], damage: str, finding: str
) -> None:
    await store.submit([tree("one"), tree("two")])
    (lease,) = (await store.commit_and_claim(Exchange("w", 1, (), Claim(("a",), 1, 60_000)))).leases
    calls = Settle("c", Amount(3)), Settle("d"), Settle("e", Amount(0, 1))
    await store.record([Record(lease.hold, settles=calls, reserves=(Reserve("f", Amount(5)),))], 60_000)
    assert await store.check() == []
    connection = apsw.Connection(str(path))
    connection.execute(damage)
    connection.close()
    assert any(finding in sentence for sentence in await store.check())


async def test_purged_room_is_given_back(store: SqliteStore, path: Path, tree: Callable[[str], Tree]) -> None:
    await store.submit([tree(f"task-{number}") for number in range(2_000)])
    exchanged = await store.commit_and_claim(Exchange("w", 1, claim=Claim(("a",), 2_000, 30_000)))
    done = tuple(
        Outcome(lease.hold, Ending.FAILED, error=ErrorRecord("ValueError", "boom")) for lease in exchanged.leases
    )
    await store.commit_and_claim(Exchange("w", 2, done))
    before = (await store.info())["file_bytes"] + (await store.info())["log_bytes"]
    assert await store.purge(exchanged.now + 60_000, limit=5_000) == 2_000
    await store.compact()
    info = await store.info()
    assert (info["tasks"], info["events"], info["free_bytes"]) == (0, 0, 0)
    assert info["file_bytes"] < before / 4
    assert await store.check() == []
    # Numbers and cursors do not begin again.
    await store.submit([tree("next")])
    page = await store.events()
    assert int(page.events[0].cursor) > 6_000


async def test_the_log_does_not_grow_without_bound(store: SqliteStore, tree: Callable[[str], Tree]) -> None:
    for part in range(40):
        await store.submit([tree(f"task-{part}-{number}") for number in range(500)])
        await store.task("task-0-0")
    assert (await store.info())["log_bytes"] < 100_000_000
