"""Descendants: what is asked of a task reaches everything unfinished below it, also below what has ended already."""

from __future__ import annotations

from typing import Any

from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Answer, Ending
from tenuto.tasks.signal import Delivery, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord
from tests.conformance.stage import START, Stage, Worker, spec


async def below_an_end(stage: Stage, **top: Any) -> tuple[Worker, Lease]:
    """`task-1` runs; its child a is done; a's child b is ready."""
    await stage.add(spec(**top))
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, spawned=(spec("task-1.a"),))
    a = await worker.claim_one()
    await worker.record(a, spawned=(spec("task-1.b"),))
    await worker.done(a)
    return worker, lease


async def test_a_cancel_reaches_what_is_below_a_task_that_is_done(stage: Stage) -> None:
    worker, _ = await below_an_end(stage)
    await stage.signal(SignalKind.CANCEL)
    assert await stage.states("task-1", "task-1.a", "task-1.b") == ["cancelled", "done", "cancelled"]
    assert (await stage.task("task-1.b")).reason == "skipped: task-1 was cancelled"
    assert await worker.ids() == []


async def test_a_cancelled_goal_takes_children_of_its_done_nodes_with_it(stage: Stage) -> None:
    await stage.add_goal("a b", "a>b")
    worker = stage.worker()
    a = await worker.claim_one()
    await worker.record(a, spawned=(spec("goal-1.child"),))
    await worker.done(a)
    await stage.signal(SignalKind.CANCEL, "goal-1")
    assert await stage.states("goal-1", "a", "b", "goal-1.child") == ["cancelled", "done", "cancelled", "cancelled"]


async def test_pause_resume_and_priority_reach_what_is_below_a_task_that_is_done(stage: Stage) -> None:
    worker, _ = await below_an_end(stage)
    await stage.signal(SignalKind.PAUSE)
    assert await worker.ids() == []
    await stage.signal(SignalKind.ELEVATE, data=7)
    await stage.signal(SignalKind.RESUME)
    assert (await stage.task("task-1.b")).priority == 7
    assert await worker.ids() == ["task-1.b"]


async def test_a_worker_that_reports_the_end_of_the_time_ends_the_descendants_too(stage: Stage) -> None:
    worker, lease = await below_an_end(stage, deadline=START + 10_000)
    stage.clock.move(10_000)
    error = ErrorRecord("Deadline", "its deadline has passed")
    assert await worker.report(lease, Ending.FAILED, error=error) is Answer.ACCEPTED
    assert await stage.states("task-1", "task-1.a", "task-1.b") == ["failed", "done", "cancelled"]


async def test_a_failure_within_the_time_leaves_the_descendants_alone(stage: Stage) -> None:
    worker, lease = await below_an_end(stage, deadline=START + 10_000)
    await worker.fail(lease)
    assert await stage.states("task-1", "task-1.b") == ["failed", "ready"]


async def test_what_a_paused_task_spawns_is_paused(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(SignalKind.PAUSE, reason="look into it")
    assert (await worker.record(lease, spawned=(spec("task-1.a"),))).paused
    assert (await stage.task("task-1.a")).reason == "look into it"
    assert await worker.ids() == []
    await stage.signal(SignalKind.RESUME)
    assert await worker.ids() == ["task-1.a"]


async def test_a_node_that_is_retried_in_a_paused_goal_is_paused(stage: Stage) -> None:
    await stage.add_goal("a b")
    worker = stage.worker()
    a, _ = await worker.claim(2)
    await worker.fail(a)
    await stage.signal(SignalKind.PAUSE, "goal-1")
    assert (await stage.signal(SignalKind.RETRY, "a")).delivery is Delivery.ACCEPTED
    assert await worker.ids() == []
    await stage.signal(SignalKind.RESUME, "goal-1")
    assert await worker.ids() == ["a"]


async def test_a_node_whose_dependency_failed_cannot_be_retried_alone(stage: Stage) -> None:
    await stage.add_goal((spec("source"), spec("late", deadline=START + 1_000), spec("slow")), "source>late")
    worker = stage.worker()
    source, _ = await worker.claim(2)
    await stage.after(1_000)
    await worker.fail(source)
    assert await stage.state("late") is State.FAILED
    assert (await stage.signal(SignalKind.RETRY, "late")).delivery is Delivery.REFUSED
    assert await stage.states("late", "goal-1") == ["failed", "waiting"]


async def test_a_retry_takes_along_what_the_end_of_the_task_had_cancelled(stage: Stage) -> None:
    worker, lease = await below_an_end(stage)
    await worker.record(lease, spawned=(spec("task-1.c"), spec("task-1.d")))
    await stage.signal(SignalKind.CANCEL, "task-1.d", reason="not needed")
    await stage.signal(SignalKind.CANCEL)
    assert (await stage.signal(SignalKind.RETRY)).delivery is Delivery.ACCEPTED
    below = ("task-1.a", "task-1.b", "task-1.c", "task-1.d")
    assert await stage.states("task-1", *below) == ["ready", "done", "ready", "ready", "cancelled"]
    assert sorted(await worker.ids()) == ["task-1", "task-1.b", "task-1.c"]


async def test_a_fresh_retry_spawns_its_own_and_takes_nothing_along(stage: Stage) -> None:
    await below_an_end(stage)
    await stage.signal(SignalKind.CANCEL)
    await stage.signal(SignalKind.RETRY, data={"fresh": True})
    assert await stage.states("task-1", "task-1.b") == ["ready", "cancelled"]


async def test_a_goal_that_is_retried_takes_along_what_its_nodes_had_spawned(stage: Stage) -> None:
    await stage.add_goal("a b", "a>b")
    worker = stage.worker()
    a = await worker.claim_one()
    await worker.record(a, spawned=(spec("goal-1.child"),))
    await worker.wait(a, "task:goal-1.child")
    await stage.signal(SignalKind.CANCEL, "goal-1")
    await stage.signal(SignalKind.RETRY, "goal-1")
    assert await stage.states("goal-1", "a", "b", "goal-1.child") == ["waiting", "ready", "blocked", "ready"]
    await worker.run_all()
    assert await stage.states("goal-1", "a", "b", "goal-1.child") == ["done"] * 4
