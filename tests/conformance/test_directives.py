"""Directives: cancel, pause, resume, elevate, retry and resolve take effect in the transaction that stores them."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto.tasks.event import EventKind
from tenuto.tasks.outcome import Answer, Step, StepState
from tenuto.tasks.signal import Delivery, Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Unique
from tests.conformance.stage import LEASE, START, Stage, Worker, raw, spec, value

CANCEL, PAUSE, RESUME, ELEVATE = SignalKind.CANCEL, SignalKind.PAUSE, SignalKind.RESUME, SignalKind.ELEVATE
RETRY, RESOLVE = SignalKind.RETRY, SignalKind.RESOLVE
ACCEPTED, ALREADY, FINISHED, REFUSED = Delivery.ACCEPTED, Delivery.ALREADY, Delivery.FINISHED, Delivery.REFUSED


async def family(stage: Stage) -> Worker:
    """`task-1`, waiting, with the children a and b; a has the child c. The worker holds b."""
    await stage.add(spec())
    worker = stage.worker()
    top = await worker.claim_one()
    await worker.record(top, spawned=(spec("task-1.a"), spec("task-1.b", priority=-1)))
    a = await worker.claim_one()
    await worker.record(a, spawned=(spec("task-1.c", priority=-2),))
    await worker.wait(a, "task:task-1.c")
    await worker.wait(top, "task:task-1.a", "task:task-1.b", need=2)
    assert (await worker.claim_one()).task_id == "task-1.b"
    return worker


FAMILY = ("task-1", "task-1.a", "task-1.b", "task-1.c")


# -- cancel ------------------------------------------------------------------------------------------------


async def test_cancel_reaches_every_descendant(stage: Stage) -> None:
    await family(stage)
    assert (await stage.signal(CANCEL, reason="enough")).delivery is ACCEPTED
    assert await stage.states(*FAMILY) == ["cancelled"] * 4
    assert (await stage.task()).reason == "enough"
    assert (await stage.task("task-1.c")).reason.startswith("skipped: ")
    for task_id in FAMILY:
        assert (await stage.kinds(task_id)).count("cancelled") == 1
    assert await stage.worker().ids() == []


async def test_cancelling_a_child_leaves_its_parent_and_wakes_it_in_the_end(stage: Stage) -> None:
    await family(stage)
    await stage.signal(CANCEL, "task-1.a")
    assert await stage.states(*FAMILY) == ["waiting", "cancelled", "running", "cancelled"]
    await stage.signal(CANCEL, "task-1.b")
    assert await stage.state() is State.READY


@pytest.mark.parametrize("ending", ["done", "fail", "cancel"])
async def test_what_has_ended_cannot_be_cancelled(stage: Stage, ending: str) -> None:
    await stage.add(spec())
    if ending == "cancel":
        await stage.signal(CANCEL, reason="first")
    else:
        worker = stage.worker()
        await getattr(worker, ending)(await worker.claim_one())
    before = await stage.task()
    delivered = await stage.signal(CANCEL, reason="second")
    assert delivered.delivery is FINISHED
    assert before.state.value in delivered.detail
    assert await stage.task() == before


@pytest.mark.parametrize("kind", SignalKind)
async def test_an_unknown_task_is_named(stage: Stage, kind: SignalKind) -> None:
    delivered = await stage.signal(kind, "nobody", data={"key": "a", "how": "done"})
    assert delivered.delivery is Delivery.UNKNOWN
    assert "'nobody'" in delivered.detail


async def test_signals_of_one_batch_take_effect_in_order(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"))
    answers = await stage.store.signal(
        [
            Signal("a", PAUSE),
            Signal("a", RESUME),
            Signal("nobody", CANCEL),
            Signal("a", CANCEL),
            Signal("b", PAUSE),
            Signal("a", PAUSE),
        ]
    )
    assert [answer.delivery.value for answer in answers] == [
        "accepted",
        "accepted",
        "unknown",
        "accepted",
        "accepted",
        "finished",
    ]
    assert (await stage.task("b")).paused


# -- pause and resume --------------------------------------------------------------------------------------


async def test_pause_and_resume_reach_every_descendant(stage: Stage) -> None:
    worker = await family(stage)
    assert (await stage.signal(PAUSE, reason="look into it")).delivery is ACCEPTED
    assert (await stage.signal(PAUSE)).delivery is ALREADY
    tasks = await stage.store.tasks_by_id(FAMILY)
    assert [(task.paused, task.reason) for task in tasks.values()] == [(True, "look into it")] * 4
    assert [task.state.value for task in tasks.values()] == ["waiting", "waiting", "running", "ready"]
    assert await worker.ids() == []
    assert (await stage.signal(RESUME)).delivery is ACCEPTED
    assert (await stage.signal(RESUME)).delivery is ALREADY
    assert not any(task.paused for task in (await stage.store.tasks_by_id(FAMILY)).values())
    assert await worker.ids() == ["task-1.c"]


async def test_a_running_task_is_told_that_it_is_paused_and_may_finish_all_the_same(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(PAUSE)
    assert (await worker.record(lease, Step("a", 0, value=raw(1)))).paused
    assert await worker.done(lease) is Answer.ACCEPTED
    task = await stage.task()
    assert (task.state, task.paused) == (State.DONE, False)


async def test_a_paused_goal_goes_on_when_it_is_resumed(stage: Stage) -> None:
    await stage.add_goal("a b", "a>b")
    await stage.signal(PAUSE, "goal-1")
    worker = stage.worker()
    assert await worker.ids() == []
    await stage.signal(RESUME, "goal-1")
    assert await worker.run_all() == ["a", "b"]
    assert await stage.state("goal-1") is State.DONE


async def test_a_paused_task_ripens_and_is_met_but_is_not_claimed(stage: Stage) -> None:
    await stage.add_goal([spec("a"), spec("b"), spec("late", run_at=START + 100)], "a>b")
    await stage.signal(PAUSE, "b")
    await stage.signal(PAUSE, "late")
    worker = stage.worker()
    assert await worker.run_all() == ["a"]
    await stage.after(100)
    assert await stage.states("b", "late") == ["ready", "ready"]
    assert await worker.ids() == []


# -- elevate -----------------------------------------------------------------------------------------------


async def test_a_new_priority_holds_at_once(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"), spec("c"))
    await stage.signal(ELEVATE, "b", data=5)
    await stage.signal(ELEVATE, "a", data=-5)
    assert (await stage.last(EventKind.ELEVATED, "b")).data == {"priority": 5}
    assert await stage.worker().ids() == ["b", "c", "a"]


@pytest.mark.parametrize("priority", [None, "high", 1.5, True, 2**40, [1]])
async def test_a_priority_that_makes_no_sense_is_refused(stage: Stage, priority: Any) -> None:
    await stage.add(spec())
    delivered = await stage.signal(ELEVATE, data=priority)
    assert delivered.delivery is REFUSED
    assert "priority" in delivered.detail
    assert await stage.kinds() == ["created"]


# -- retry -------------------------------------------------------------------------------------------------


async def failed_with_a_journal(stage: Stage) -> Worker:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, Step("a", 0, value=raw(1)), Step("b", 1, value=raw(2)))
    await worker.fail(lease)
    return worker


async def test_a_failed_task_goes_on_with_the_journal_it_has(stage: Stage) -> None:
    worker = await failed_with_a_journal(stage)
    assert (await stage.signal(RETRY)).delivery is ACCEPTED
    lease = await worker.claim_one()
    assert (lease.run, lease.epoch, lease.steps, lease.attempt, lease.failures) == (2, 0, 2, 2, 0)
    assert [step.key for step in await stage.store.journal("task-1")] == ["a", "b"]
    assert await worker.done(lease, "good") is Answer.ACCEPTED
    assert await stage.kinds() == ["created", "started", "failed", "retried", "started", "done"]


async def test_a_fresh_retry_forgets_the_journal(stage: Stage) -> None:
    worker = await failed_with_a_journal(stage)
    await stage.signal(RETRY, data={"fresh": True})
    lease = await worker.claim_one()
    assert (lease.run, lease.epoch, lease.steps) == (2, 1, 0)
    assert list(await stage.store.journal("task-1")) == []
    assert (await stage.last(EventKind.RETRIED)).data == {"run": 2, "fresh": True, "state": "ready"}


async def test_a_done_task_starts_over_with_an_empty_journal(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, Step("a", 0, value=raw(1)))
    await worker.done(lease, "first")
    await stage.signal(RETRY)
    task = await stage.task()
    assert (task.state, task.result, task.epoch, task.steps, task.finished_at) == (State.READY, None, 1, 0, None)
    await worker.done(await worker.claim_one(), "second")
    assert value((await stage.task()).result) == "second"


async def test_a_cancelled_task_can_be_retried(stage: Stage) -> None:
    await stage.add(spec())
    await stage.signal(CANCEL)
    assert (await stage.signal(RETRY)).delivery is ACCEPTED
    assert await stage.worker().run_all() == ["task-1"]


async def test_what_has_not_ended_cannot_be_retried(stage: Stage) -> None:
    await stage.add(spec())
    delivered = await stage.signal(RETRY)
    assert (delivered.delivery, "ready" in delivered.detail) == (REFUSED, True)


async def test_a_unique_key_that_another_holds_now_refuses_the_retry(stage: Stage) -> None:
    await stage.add(spec("a", unique=Unique("report")))
    await stage.worker().run_all()
    await stage.add(spec("b", unique=Unique("report")))
    delivered = await stage.signal(RETRY, "a")
    assert (delivered.delivery, "'b'" in delivered.detail) == (REFUSED, True)
    await stage.worker().run_all()
    assert (await stage.signal(RETRY, "a")).delivery is ACCEPTED


# -- resolve -----------------------------------------------------------------------------------------------


async def with_an_unknown_step(stage: Stage) -> Worker:
    """`task-1`, paused, because nobody knows whether its step "pay" happened."""
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, Step("pay", 0, StepState.STARTED))
    await stage.after(LEASE)
    await worker.release(await worker.claim_one(), pause="the outcome of step pay is unknown")
    return worker


@pytest.mark.parametrize(
    ("how", "given", "state"), [("done", {"receipt": 7}, StepState.DONE), ("fail", "card refused", StepState.FAILED)]
)
async def test_a_person_settles_a_step(stage: Stage, how: str, given: Any, state: StepState) -> None:
    worker = await with_an_unknown_step(stage)
    assert (await stage.signal(RESOLVE, data={"key": "pay", "how": how, "value": given})).delivery is ACCEPTED
    (step,) = await stage.store.journal("task-1")
    assert step.state is state
    if how == "done":
        assert value(step.value) == given
    else:
        assert step.error is not None
        assert step.error.message == given
    assert (await stage.last(EventKind.RESOLVED)).data == {"key": "pay", "how": how}
    assert await worker.ids() == ["task-1"], "the pause is lifted"


async def test_a_step_to_be_done_again_is_forgotten(stage: Stage) -> None:
    worker = await with_an_unknown_step(stage)
    await stage.signal(RESOLVE, data={"key": "pay", "how": "retry"})
    assert list(await stage.store.journal("task-1")) == []
    assert (await worker.claim_one()).steps == 0


@pytest.mark.parametrize(
    "data",
    [None, {}, {"key": "pay"}, {"key": "pay", "how": "maybe"}, {"key": "other", "how": "done"}, {"how": "done"}, "pay"],
)
async def test_what_does_not_settle_a_step_is_refused(stage: Stage, data: Any) -> None:
    await with_an_unknown_step(stage)
    before = await stage.task()
    delivered = await stage.signal(RESOLVE, data=data)
    assert delivered.delivery is REFUSED
    assert delivered.detail
    assert await stage.task() == before


async def with_a_failed_step(stage: Stage) -> Worker:
    """`task-1`, which has failed with its step "pay"."""
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    error = ErrorRecord("CardRefused", "no money")
    await worker.record(lease, Step("pay", 0, StepState.FAILED, value=raw(["shop", "CardRefused"]), error=error))
    await worker.fail(lease, error)
    return worker


async def test_a_step_with_which_a_task_has_failed_is_settled_and_the_task_retried(stage: Stage) -> None:
    worker = await with_a_failed_step(stage)
    settled = await stage.signal(RESOLVE, data={"key": "pay", "how": "done", "value": {"receipt": 7}})
    assert settled.delivery is ACCEPTED
    (step,) = await stage.store.journal("task-1")
    assert (step.state, value(step.value), step.error) == (StepState.DONE, {"receipt": 7}, None)
    assert (await stage.task()).state is State.FAILED
    assert (await stage.signal(RETRY)).delivery is ACCEPTED
    assert await worker.ids() == ["task-1"]


async def test_a_step_with_which_a_task_has_failed_is_forgotten(stage: Stage) -> None:
    worker = await with_a_failed_step(stage)
    await stage.signal(RESOLVE, data={"key": "pay", "how": "retry"})
    assert list(await stage.store.journal("task-1")) == []
    await stage.signal(RETRY)
    assert (await worker.claim_one()).steps == 0


async def test_a_failure_that_the_program_has_gone_on_from_stays(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, Step("pay", 0, StepState.FAILED, error=ErrorRecord("CardRefused", "no money")))
    await worker.release(lease)
    delivered = await stage.signal(RESOLVE, data={"key": "pay", "how": "retry"})
    assert (delivered.delivery, "no step 'pay'" in delivered.detail) == (REFUSED, True)


async def test_a_step_is_settled_once_and_not_while_its_task_runs(stage: Stage) -> None:
    worker = await with_an_unknown_step(stage)
    answer = {"key": "pay", "how": "done", "value": 1}
    assert (await stage.signal(RESOLVE, data=answer)).delivery is ACCEPTED
    assert (await stage.signal(RESOLVE, data=answer)).delivery is REFUSED
    lease = await worker.claim_one()
    await worker.record(lease, Step("refund", 1, StepState.STARTED))
    assert (await stage.signal(RESOLVE, data={"key": "refund", "how": "done"})).delivery is REFUSED
