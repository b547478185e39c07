"""What programs remember of a store stays true while others write, and whoever comes later begins where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenuto.stores.memory import MemoryStore
from tenuto.stores.postgres import PostgresStore
from tenuto.tasks.signal import SignalKind
from tests.conformance.stage import Stage, VirtualClock, spec
from tests.servers.postgres import PostgresServer

OWNERS = ("ann", "bob", "cleo")


async def _fill(stage: Stage) -> None:
    for owner, weight in zip(OWNERS, (1.0, 2.5, 0.7), strict=True):
        await stage.store.put_weight(owner, weight)
    await stage.add(*(spec(f"{owner}-{number}", owner=owner) for number in range(60) for owner in OWNERS))


@pytest.mark.parametrize("seen", [1, 63, 64, 65, 100])
async def test_programs_that_take_turns_serve_in_the_order_of_one(
    server: PostgresServer, database: str, seen: int
) -> None:
    # Given the same tasks in the model and in a store that two programs share
    clock = VirtualClock()
    model = Stage(MemoryStore(clock=clock), clock)
    await _fill(model)
    expected = [task_id for _ in range(150) for task_id in await model.worker().ids(1)]
    stores = [PostgresStore(server.url(database), clock=clock) for _ in range(3)]
    await stores[0].open()
    await stores[1].open()
    try:
        stage = Stage(stores[0], clock)
        await _fill(stage)
        # When the two take turns, and a third comes later, knowing nothing
        served = [task_id for turn in range(seen) for task_id in await stage.worker(store=stores[turn % 2]).ids(1)]
        await stores[2].open()
        for turn in range(150 - seen):
            served += await stage.worker(store=stores[turn % 3]).ids(1)
        # Then nobody can tell
        assert served == expected
    finally:
        for store in stores:
            await store.close()


async def test_what_another_program_has_changed_is_seen_at_once(server: PostgresServer, database: str) -> None:
    # Given two programs that both know a task as ready
    clock = VirtualClock()
    here, there = (PostgresStore(server.url(database), clock=clock) for _ in range(2))
    await here.open()
    await there.open()
    try:
        stage, other = Stage(here, clock), Stage(there, clock)
        await stage.add(spec("one"), spec("two"))
        assert await other.worker().ids(1) == ["one"]
        # When one of them takes it back
        await stage.signal(SignalKind.CANCEL, "two")
        # Then the other does not claim it, and what comes again is found by both
        assert await other.worker().ids(1) == []
        await stage.signal(SignalKind.RETRY, "two")
        assert await other.worker().ids(1) == ["two"]
        await other.add(spec("three"))
        assert await stage.worker().ids(1) == ["three"]
    finally:
        await here.close()
        await there.close()


async def test_tags_are_written_now_and_then_whoever_claims(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    # Given a store in which one task after the other is claimed
    clock = VirtualClock()
    store = PostgresStore(server.url(database), clock=clock)
    await store.open()
    try:
        stage = Stage(store, clock)
        await stage.add(*(spec(f"task-{number}") for number in range(300)))
        with server.connect(database) as outside:
            written = set()
            # When its lane's row is looked at from outside after each claim
            for _ in range(300):
                assert len(await stage.worker().ids(1)) == 1
                rows = outside.execute("SELECT tag FROM tenuto.lane").fetchall()
                written.add(rows[0][0])
        # Then it was rewritten seldom, so that no trail of dead rows is left
        assert 4 <= len(written) <= 6
    finally:
        await store.close()
