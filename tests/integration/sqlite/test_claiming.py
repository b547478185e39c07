"""Claims read only part of each lane at first: what they take is the same as if they had read everything."""

from __future__ import annotations

import asyncio
import random

import pytest

from tenuto.stores.base import Claim, Exchange, Store
from tenuto.stores.memory import MemoryStore
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.goal import Tree
from tenuto.tasks.limits import Limit
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.task import TaskSpec


async def claimed(store: Store, trees: list[Tree], slots: int) -> list[list[str]]:
    for limit in (Limit("slow", concurrency=3), Limit("slower", concurrency=1)):
        await store.put_limit(limit)
    await store.put_weight("owner-3", 500.0)
    await store.put_weight("owner-7", 20.0)
    await store.submit(trees)
    taken: list[list[str]] = []
    for number in range(1, 8):
        exchanged = await store.commit_and_claim(Exchange("w", number, claim=Claim(("a", "b"), slots, 30_000)))
        taken.append([lease.task_id for lease in exchanged.leases])
    return taken


@pytest.mark.parametrize("slots", [1, 7, 60, 200])
async def test_one_heavy_owner_among_many(store: SqliteStore, slots: int) -> None:
    chance = random.Random(slots)
    trees = [
        Tree(
            TaskSpec(
                id=f"task-{number}",
                agent=chance.choice("aab"),
                owner=f"owner-{chance.randrange(20)}",
                priority=chance.randrange(3),
                limits=chance.choice([(), (), (), ("slow",), ("slow", "slower")]),
            )
        )
        for number in range(1_500)
    ]
    assert await claimed(store, trees, slots) == await claimed(MemoryStore(), trees, slots)
    assert await store.check() == []


async def test_what_was_elevated_in_the_same_transaction_comes_first(store: SqliteStore) -> None:
    await store.submit([Tree(TaskSpec(id=f"task-{number}", agent="a")) for number in range(10)])
    # Asked for together, so that they share a transaction.
    _, exchanged = await asyncio.gather(
        store.signal([Signal("task-7", SignalKind.ELEVATE, data=5)]),
        store.commit_and_claim(Exchange("w", 1, claim=Claim(("a",), 2, 30_000))),
    )
    assert [lease.task_id for lease in exchanged.leases] == ["task-7", "task-0"]


async def test_what_is_at_hand_follows_what_others_commit(store: SqliteStore) -> None:
    # Given a store that keeps the lanes of "a" at hand, since it has claimed from them
    await store.submit([Tree(TaskSpec(id=f"task-{number}", agent="a")) for number in range(6)])
    claimed = [(await _claim_one(store, number)) for number in range(1, 3)]
    # When another one on the same file claims, elevates, and submits for an owner who is new
    other = SqliteStore(store.path)
    await other.open()
    try:
        claimed.append(await _claim_one(other, 1))
        await other.signal([Signal("task-5", SignalKind.ELEVATE, data=5)])
        claimed.append(await _claim_one(store, 3))
        await other.submit([Tree(TaskSpec(id="new", agent="a", owner="late"))])
        claimed += [await _claim_one(store, number) for number in range(4, 7)]
    finally:
        await other.close()
    # Then no task is claimed twice, and each comes in its turn
    assert claimed[:4] == ["task-0", "task-1", "task-2", "task-5"]
    assert sorted(claimed[4:]) == ["new", "task-3", "task-4"]
    assert await store.check() == []


async def _claim_one(store: SqliteStore, number: int) -> str:
    exchanged = await store.commit_and_claim(Exchange("w", number, claim=Claim(("a",), 1, 30_000)))
    return exchanged.leases[0].task_id
