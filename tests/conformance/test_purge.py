"""Purge: whole trees, when their time has come and nothing of them is active; and nothing of them is left."""

from __future__ import annotations

import pytest

from tenuto.stores.base import TaskFilter, TimeToLive, Verdict
from tenuto.tasks.goal import Tree
from tenuto.tasks.outcome import Answer, Step
from tenuto.tasks.signal import Delivery, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Unique
from tests.conformance.stage import LEASE, Stage, raw, spec

DAY = 86_400_000
SHORT = TimeToLive(done=1_000, failed=5_000, cancelled=3_000, keys=60_000)


async def a_full_tree(stage: Stage) -> None:
    """A goal with everything a tree can have, done: children, journal, blobs, messages, events."""
    nodes = (spec("a", limits=("db",), tags=("t",)), spec("b"))
    await stage.limit("db", concurrency=1)
    await stage.add(Tree(spec("goal-1", agent="", idempotency_key="k"), nodes, blobs={"b" * 40: b'"x"'}))
    worker = stage.worker()
    await stage.signal(SignalKind.STEER, "a", data=1, key="m")
    a, b = await worker.claim(2)
    await worker.record(a, Step("s", 0, value=raw(1)), spawned=(spec("goal-1.c"),), events=(("note", raw(1)),))
    await worker.done(a)
    await worker.done(b)
    await worker.run_all()


async def test_nothing_is_left_of_a_tree(stage: Stage) -> None:
    await a_full_tree(stage)
    stage.clock.move(1_001)
    swept = await stage.sweep(SHORT)
    assert (swept.purged, swept.more) == (1, False)
    for task_id in ("goal-1", "a", "b", "goal-1.c"):
        assert await stage.store.task(task_id) is None
        assert list(await stage.store.journal(task_id)) == []
        assert list(await stage.store.inbox(task_id)) == []
        assert await stage.store.why(task_id) is None
        assert (await stage.signal(SignalKind.RETRY, task_id)).delivery is Delivery.UNKNOWN
    assert await stage.store.goal("goal-1") is None
    assert await stage.blob("goal-1", "b" * 40) is None
    assert (await stage.store.events()).events == ()
    assert (await stage.store.tasks(TaskFilter())).tasks == ()
    assert sum((await stage.store.stats()).values()) == 0
    assert list(await stage.store.agents()) == []
    assert await stage.used("db") == (0, 0)


async def test_purged_ids_can_be_used_again_and_start_from_nothing(stage: Stage) -> None:
    await a_full_tree(stage)
    stage.clock.move(1_001)
    await stage.sweep(SHORT)
    await stage.add(spec("a"), spec("goal-1"))
    assert (await stage.signal(SignalKind.STEER, "a", data=2, key="m")).delivery is Delivery.ACCEPTED
    worker = stage.worker()
    (lease,) = [lease for lease in await worker.claim(2) if lease.task_id == "a"]
    assert (lease.attempt, lease.steps, lease.root) == (1, 0, "a")
    assert [(message.number, message.data) for message in lease.messages] == [(1, 2)]
    assert await stage.kinds("a") == ["created", "signalled", "started"]


async def test_an_idempotency_key_outlives_its_task_for_its_own_time(stage: Stage) -> None:
    await stage.add(spec("a", idempotency_key="k"))
    await stage.worker().run_all()
    stage.clock.move(2_000)
    await stage.sweep(SHORT)
    assert await stage.store.task("a") is None
    (answer,) = await stage.submit(spec("b", idempotency_key="k"))
    assert (answer.verdict, answer.task_id) == (Verdict.EXISTING, "a")
    stage.clock.move(58_001)
    await stage.sweep(SHORT)
    await stage.add(spec("b", idempotency_key="k"))


async def test_a_unique_key_does_not_outlive_its_task(stage: Stage) -> None:
    await stage.add(spec("a", unique=Unique("u", (State.DONE,))))
    await stage.worker().run_all()
    stage.clock.move(2_000)
    await stage.sweep(SHORT)
    await stage.add(spec("b", unique=Unique("u", (State.DONE,))))


@pytest.mark.parametrize(("ending", "ttl"), [("done", 1_000), ("fail", 5_000), ("cancel", 3_000)])
async def test_each_final_state_has_its_own_time_to_live(stage: Stage, ending: str, ttl: int) -> None:
    await stage.add(spec())
    if ending == "cancel":
        await stage.signal(SignalKind.CANCEL)
    else:
        worker = stage.worker()
        await getattr(worker, ending)(await worker.claim_one())
    stage.clock.move(ttl)
    assert (await stage.sweep(SHORT)).purged == 0
    stage.clock.move(1)
    assert (await stage.sweep(SHORT)).purged == 1


async def test_a_tree_stays_while_any_task_of_it_is_active(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, spawned=(spec("task-1.a", agent="slow"),))
    await worker.done(lease)
    stage.clock.move(DAY)
    assert (await stage.sweep(SHORT)).purged == 0
    slow = stage.worker("slow")
    assert await slow.done(await slow.claim_one()) is Answer.ACCEPTED
    assert (await stage.sweep(SHORT)).purged == 1
    assert await stage.store.task("task-1.a") is None


async def test_a_tree_stays_while_a_worker_has_not_let_go(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await stage.add(spec(limits=("db",)))
    worker = stage.worker()
    lease = await worker.claim_one(lease=DAY)
    await stage.signal(SignalKind.CANCEL)
    stage.clock.move(10_000)
    assert (await stage.sweep(SHORT)).purged == 0
    assert await stage.used("db") == (1, 0)
    assert await worker.done(lease) is Answer.STALE
    assert (await stage.sweep(SHORT)).purged == 1
    assert await stage.used("db") == (0, 0)


async def test_a_tree_that_runs_again_is_not_purged(stage: Stage) -> None:
    await stage.add(spec())
    await stage.worker().run_all()
    await stage.signal(SignalKind.RETRY)
    stage.clock.move(DAY)
    assert (await stage.sweep(SHORT)).purged == 0


async def test_a_purge_is_bounded_and_takes_what_ended_first(stage: Stage) -> None:
    worker = stage.worker()
    for number in range(10):
        await stage.add(spec(f"t{number}"))
        await worker.run_all()
        stage.clock.move(10)
    stage.clock.move(DAY)
    swept = await stage.sweep(SHORT, limit=4)
    assert (swept.purged, swept.more) == (4, True)
    left = {task.id for task in (await stage.store.tasks(TaskFilter())).tasks}
    assert left == {f"t{number}" for number in range(4, 10)}


async def test_a_purge_on_request_asks_for_no_time_to_live(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"), spec("c"), spec("d", agent="other"))
    worker = stage.worker()
    a, b, c = await worker.claim(3)
    await worker.done(a)
    await worker.fail(b)
    await worker.done(c)
    assert await stage.store.purge(stage.clock.now) == 0, "only what ended before that instant"
    before = stage.clock.move(1)
    assert await stage.store.purge(before, [State.FAILED]) == 1
    assert await stage.store.purge(before, [State.READY, State.RUNNING]) == 0
    assert await stage.store.purge(before, limit=1) == 1
    assert await stage.store.purge(before) == 1
    assert await stage.states("d") == ["ready"]


async def test_a_late_report_about_a_purged_task_is_invalid(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(SignalKind.CANCEL)
    await stage.after(LEASE)
    stage.clock.move(DAY)
    assert (await stage.sweep(SHORT)).purged == 1
    assert await worker.done(lease) is Answer.INVALID
    assert [each.held for each in await worker.renew(lease)] == [False]
    assert (await worker.record(lease, Step("a", 0))).answer in (Answer.STALE, Answer.INVALID)


async def test_a_feed_goes_on_behind_what_was_purged(stage: Stage) -> None:
    await stage.add(spec("a"))
    await stage.worker().run_all()
    page = await stage.store.events(limit=1)
    stage.clock.move(DAY)
    await stage.sweep(SHORT)
    await stage.add(spec("b"))
    rest = await stage.store.events(page.cursor)
    assert [(event.task_id, event.kind.value) for event in rest.events] == [("b", "created")]


async def test_a_waiting_task_whose_topic_is_purged_is_not_left_behind(stage: Stage) -> None:
    await stage.add(spec("a"))
    await stage.worker().run_all()
    await stage.add(spec("b"))
    worker = stage.worker()
    lease = await worker.claim_one()
    stage.clock.move(1_001)
    await worker.renew(lease)
    await stage.sweep(SHORT)
    await worker.wait(lease, "task:a")
    assert await stage.state("b") is State.READY
