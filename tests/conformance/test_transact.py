"""The caller's SQL and ours in one transaction: a tree with the caller's rows, a step with the SQL that it ran."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto.tasks.outcome import Answer, Step
from tenuto.tasks.signal import SignalKind
from tests.conformance.engines import ENGINES, Engine
from tests.conformance.stage import LEASE, Stage, Worker, raw, spec, value


@pytest.fixture(params=[each for each in ENGINES.values() if each.sql], ids=lambda each: each.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.param
    return engine


async def running(stage: Stage) -> Worker:
    await stage.add(spec())
    return stage.worker()


def make_table(connection: Any) -> bytes:
    connection.execute("CREATE TABLE bill (name TEXT, amount INTEGER)")
    return b"null"


def insert(connection: Any) -> bytes:
    connection.execute("INSERT INTO bill VALUES ('ann', 5)")
    return b'{"rows":1}'


def count(connection: Any) -> bytes:
    ((rows,),) = list(connection.execute("SELECT count(*) FROM bill"))
    return str(rows).encode()


async def test_a_step_commits_with_the_sql_that_it_ran(stage: Stage) -> None:
    worker = await running(stage)
    lease = await worker.claim_one()
    store = stage.store
    assert (await store.transact(lease.hold, Step("make", 0), make_table, LEASE)).answer is Answer.ACCEPTED
    stage.clock.move(10)
    assert (await store.transact(lease.hold, Step("pay", 1), insert, LEASE)).answer is Answer.ACCEPTED
    await store.transact(lease.hold, Step("count", 2), count, LEASE)
    journal = await store.journal("task-1")
    assert [(step.key, value(step.value)) for step in journal] == [("make", None), ("pay", {"rows": 1}), ("count", 1)]
    task = await stage.task()
    assert (task.steps, task.lease_until) == (3, stage.clock.now + LEASE)


async def test_what_the_work_raises_is_raised_and_nothing_is_stored(stage: Stage) -> None:
    worker = await running(stage)
    lease = await worker.claim_one()
    await stage.store.transact(lease.hold, Step("make", 0), make_table, LEASE)

    def break_down(connection: Any) -> bytes:
        insert(connection)
        raise KeyError("no such customer")

    with pytest.raises(KeyError, match="no such customer"):
        await stage.store.transact(lease.hold, Step("pay", 1), break_down, LEASE)
    await stage.store.transact(lease.hold, Step("count", 1), count, LEASE)
    assert [(step.key, value(step.value)) for step in await stage.store.journal("task-1")][1:] == [("count", 0)]
    assert await worker.done(lease) is Answer.ACCEPTED


async def test_who_does_not_hold_the_task_runs_no_sql(stage: Stage) -> None:
    worker = await running(stage)
    lease = await worker.claim_one()
    await stage.store.transact(lease.hold, Step("make", 0), make_table, LEASE)
    await stage.after(2 * LEASE)
    ran = []

    def work(connection: Any) -> bytes:
        ran.append(1)
        return insert(connection)

    assert (await stage.store.transact(lease.hold, Step("pay", 1), work, LEASE)).answer is Answer.STALE
    assert ran == []


async def test_a_recorded_step_runs_its_sql_no_second_time(stage: Stage) -> None:
    worker = await running(stage)
    lease = await worker.claim_one()
    store = stage.store
    await store.transact(lease.hold, Step("make", 0), make_table, LEASE)
    for _ in range(2):
        assert (await store.transact(lease.hold, Step("pay", 1), insert, LEASE)).answer is Answer.ACCEPTED
    await store.transact(lease.hold, Step("count", 2), count, LEASE)
    assert value((await store.journal("task-1"))[-1].value) == 1


async def test_a_transaction_tells_of_a_pause(stage: Stage) -> None:
    worker = await running(stage)
    lease = await worker.claim_one()
    await stage.signal(SignalKind.PAUSE)
    recorded = await stage.store.transact(lease.hold, Step("make", 0, value=raw(1)), make_table, LEASE)
    assert recorded.paused
