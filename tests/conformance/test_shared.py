"""Engines whose content outlives the store object: reopening, and several stores on one place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenuto.stores.base import Store, Verdict
from tenuto.tasks.money import Amount, Budget, RefusalKind, Reserve, Settle
from tenuto.tasks.outcome import Answer, Step, StepState
from tenuto.tasks.schedules import CatchUp, Schedule
from tenuto.tasks.states import State
from tenuto.tasks.usage import UsageBy
from tests.conformance.ear import Ear, ready, told
from tests.conformance.engines import ENGINES, Engine
from tests.conformance.stage import FOREVER, LEASE, Stage, VirtualClock, raw, spec, value


@pytest.fixture(params=[each for each in ENGINES.values() if each.durable], ids=lambda each: each.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.param
    return engine


@pytest.fixture
async def other(engine: Engine, store: Store, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Store]:
    """A second store on the place of the first."""
    other = engine.make(tmp_path, clock)
    await other.open()
    try:
        yield other
    finally:
        await other.close()


async def test_content_outlives_the_store(engine: Engine, tmp_path: Path, clock: VirtualClock) -> None:
    first = engine.make(tmp_path, clock)
    await first.open()
    stage = Stage(first, clock)
    await stage.add(spec("a", payload=raw({"n": 1})), spec("b"))
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, Step("s", 0, value=raw("a\x00b")))
    before = await stage.task("a")
    feed = (await first.events()).events
    await first.close()
    second = engine.make(tmp_path, clock)
    await second.open()
    stage = Stage(second, clock)
    try:
        assert await stage.task("a") == before
        assert (await second.events()).events == feed
        assert [value(step.value) for step in await second.journal("a")] == ["a\x00b"]
        worker.store = second
        assert await worker.done(lease, "from before") is Answer.ACCEPTED
        assert await worker.run_all() == ["b"]
        assert await stage.kinds("a") == ["created", "started", "done"]
    finally:
        await second.close()


async def test_shares_and_limits_outlive_the_store(engine: Engine, tmp_path: Path, clock: VirtualClock) -> None:
    first = engine.make(tmp_path, clock)
    await first.open()
    stage = Stage(first, clock)
    await first.put_weight("ann", 3)
    await stage.limit("db", concurrency=1)
    for owner in ("ann", "bob"):
        await stage.add(*(spec(f"{owner}{number}", owner=owner) for number in range(40)))
    await stage.add(*(spec(f"d{number}", agent="db", limits=("db",)) for number in range(2)))
    taken = Counter(lease.owner for lease in await stage.worker().claim(4))
    assert len(await stage.worker("db").claim(2)) == 1
    await first.close()
    second = engine.make(tmp_path, clock)
    await second.open()
    stage = Stage(second, clock)
    try:
        assert await stage.used("db") == (1, 1)
        limited, worker = stage.worker("db"), stage.worker()
        limited.name, worker.name = "limited-after", "worker-after"
        assert await limited.claim(2) == []
        taken += Counter(lease.owner for lease in await worker.claim(12))
        assert (taken["ann"], taken["bob"]) == (12, 4)
    finally:
        await second.close()


async def test_a_clock_that_was_set_back_meanwhile_does_not_go_back(
    engine: Engine, tmp_path: Path, clock: VirtualClock
) -> None:
    first = engine.make(tmp_path, clock)
    await first.open()
    stage = Stage(first, clock)
    await stage.add(spec("a"))
    await stage.worker().claim_one()
    await first.close()
    clock.move(-3_600_000)
    second = engine.make(tmp_path, clock)
    await second.open()
    stage = Stage(second, clock)
    try:
        await stage.add(spec("b"))
        assert (await stage.task("b")).created_at >= (await stage.task("a")).created_at
    finally:
        await second.close()


async def test_stores_see_and_hint_each_other(stage: Stage, other: Store) -> None:
    ear = Ear(other)
    await stage.add(spec("a"), spec("b"))
    await ear.until(ready("echo"))
    here, there = stage.worker(), stage.worker(store=other)
    a, b = await here.claim_one(), await there.claim_one()
    assert {a.task_id, b.task_id} == {"a", "b"}
    assert await there.done(a) is Answer.ACCEPTED, "a hold is good at every store of the place"
    assert await here.done(a) is Answer.ALREADY
    await here.done(b)
    await ear.until(told("b"))
    ear.stop()


async def test_what_one_store_has_answered_the_other_sees_at_once(stage: Stage, other: Store) -> None:
    there = Stage(other, stage.clock)
    for number in range(30):
        here, away = (stage, there) if number % 2 else (there, stage)
        await here.add(spec(f"t{number}"))
        assert await away.state(f"t{number}") is State.READY
        (again,) = await away.submit(spec(f"t{number}"))
        assert again.verdict is Verdict.EXISTING


async def test_every_task_is_claimed_once_by_workers_of_both_stores(stage: Stage, other: Store) -> None:
    names = [f"t{number}" for number in range(300)]
    await stage.add(*(spec(name) for name in names))
    claimed: Counter[str] = Counter()

    async def work(store: Store) -> None:
        worker = stage.worker(store=store)
        while leases := await worker.claim(5):
            claimed.update(lease.task_id for lease in leases)
            for lease in leases:
                assert await worker.done(lease) is Answer.ACCEPTED

    await asyncio.gather(*(work(store) for store in (stage.store, other) for _ in range(3)))
    assert claimed == Counter(names)
    for name in names[::50]:
        assert await stage.kinds(name) == ["created", "started", "done"]


async def test_limits_hold_over_both_stores(stage: Stage, other: Store) -> None:
    await stage.limit("db", concurrency=3)
    await stage.add(*(spec(f"t{number}", limits=("db",)) for number in range(60)))
    running = most = 0

    async def work(store: Store) -> int:
        nonlocal running, most
        worker, ended = stage.worker(store=store), 0
        while (await stage.store.stats())[State.READY] or running:
            leases = await worker.claim(4)
            running += len(leases)
            most = max(most, running)
            await asyncio.sleep(0)
            for lease in leases:
                running -= 1
                assert await worker.done(lease) is Answer.ACCEPTED
                ended += 1
        return ended

    ended = await asyncio.gather(work(stage.store), work(other))
    assert (sum(ended), most <= 3) == (60, True)
    assert await stage.used("db") == (0, 0)


async def test_what_another_process_does_to_the_books_counts_at_once(stage: Stage, other: Store) -> None:
    # Given a worker that reserves and settles calls, so that its store knows budgets, rates and calls
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    rates = (("tokens", 1),)
    await worker.record(lease, Step("s", 0, StepState.STARTED), reserves=(Reserve("a", Amount(5), rates=rates),))
    assert (await worker.record(lease, settles=(Settle("a", Amount(3)),))).answer is Answer.ACCEPTED
    await worker.record(lease, reserves=(Reserve("b", Amount(5)),))
    # When another process sets budgets, settles a call of it, and slows the rate down
    await other.put_budget(Budget("total", money=8))
    assert await other.settle("task-1", [Settle("b", Amount(2), attempt=1)]) == [True]
    await other.slow("tokens", 1_000)
    # Then the next record of the worker meets all of that
    refused = (await worker.record(lease, reserves=(Reserve("c", Amount(4)),))).refused
    assert refused is not None
    assert (refused.kind, refused.left) == (RefusalKind.BUDGET, 3)
    refused = (await worker.record(lease, reserves=(Reserve("c", Amount(3), rates=rates),))).refused
    assert refused is not None
    assert refused.kind is RefusalKind.SLOW
    await worker.record(lease, settles=(Settle("b", Amount(5)),))
    assert [(call.call, call.actual) for call in await stage.store.ledger("task-1")] == [
        ("a", Amount(3)),
        ("b", Amount(2)),
    ]
    # And what it drops is gone
    assert await other.drop_budget("total")
    assert (await worker.record(lease, reserves=(Reserve("c", Amount(4)),))).answer is Answer.ACCEPTED
    (whole,) = await stage.store.usage(UsageBy.TREE)
    assert (whole.spent, whole.reserved, whole.calls) == (Amount(5), Amount(4), 3)


async def test_each_instant_of_a_schedule_is_fired_once(stage: Stage, other: Store) -> None:
    minute = 60_000
    await stage.store.put_schedule(Schedule(name="often", task=spec("template"), every=minute, catch_up=CatchUp.ALL))
    for _ in range(10):
        stage.clock.move(minute)
        swept = await asyncio.gather(*(store.sweep(100, FOREVER) for store in (stage.store, other) for _ in "ab"))
        assert sum(each.fired for each in swept) == 1
    assert (await stage.store.stats())[State.READY] == 10


async def test_a_lost_lease_is_lost_once_however_many_sweep(stage: Stage, other: Store) -> None:
    await stage.add(*(spec(f"t{number}") for number in range(20)))
    assert len(await stage.worker().claim(20)) == 20
    stage.clock.move(LEASE)
    swept = await asyncio.gather(*(store.sweep(100, FOREVER) for store in (stage.store, other) for _ in "abc"))
    assert sum(each.changed for each in swept) == 20
    assert await stage.kinds("t7") == ["created", "started", "lost"]
