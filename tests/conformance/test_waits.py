"""Waits: what a task waits for ends the wait, whether it comes before, during or long after."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tenuto.tasks.event import EventKind
from tenuto.tasks.outcome import Answer, Ending, Outcome
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.waits import Wait, answer_topic, event_topic, task_topic
from tests.conformance.stage import START, Stage, Worker, spec


async def waiting(stage: Stage, *on: str, **fields: Any) -> Worker:
    """`task-1` waits for `on`; the worker that ran it."""
    await stage.add(spec())
    worker = stage.worker()
    assert await worker.wait(await worker.claim_one(), *on, **fields) is Answer.ACCEPTED
    return worker


async def event(stage: Stage, name: str, data: Any = None, **fields: Any) -> None:
    delivered = await stage.signal(SignalKind.EVENT, topic=event_topic(name), data=data, **fields)
    assert delivered.delivery == "accepted"


async def test_a_waiting_task_holds_nothing(stage: Stage) -> None:
    worker = await waiting(stage, event_topic("go"))
    task = await stage.task()
    assert (task.state, task.unmet, task.lease_until) == (State.WAITING, 1, None)
    assert await worker.ids() == []
    assert (await stage.last(EventKind.WAITING)).data == {"on": ["event:go"], "until": None}
    await stage.after(10**9)
    assert await stage.state() is State.WAITING


async def test_an_event_wakes_it_and_comes_with_the_next_lease(stage: Stage) -> None:
    worker = await waiting(stage, event_topic("go"))
    await event(stage, "other")
    assert await stage.state() is State.WAITING
    await event(stage, "go", {"n": 1})
    lease = await worker.claim_one()
    assert [(message.number, message.topic, message.data) for message in lease.messages] == [
        (1, "event:other", None),
        (2, "event:go", {"n": 1}),
    ]
    assert lease.attempt == 2
    assert (await stage.kinds())[-4:] == ["signalled", "signalled", "ready", "started"]


async def test_an_answer_that_came_before_the_wait_ends_it_at_once(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(SignalKind.ANSWER, topic=answer_topic("call-1"), data=42)
    await worker.wait(lease, answer_topic("call-1"))
    assert await stage.state() is State.READY
    assert (await stage.kinds())[-2:] == ["waiting", "ready"], "the history is whole"
    assert (await worker.claim_one()).messages[0].data == 42


async def test_a_consumed_message_ends_no_later_wait(stage: Stage) -> None:
    worker = await waiting(stage, event_topic("go"))
    await event(stage, "go")
    lease = await worker.claim_one()
    await worker.wait(lease, event_topic("go"))
    assert await stage.state() is State.READY, "it was not consumed: it is there still"
    lease = await worker.claim_one()
    await worker.record(lease, consumed=(1,))
    await worker.wait(lease, event_topic("go"))
    assert await stage.state() is State.WAITING
    await event(stage, "go")
    assert await stage.state() is State.READY


async def test_consuming_and_waiting_can_be_one_commit(stage: Stage) -> None:
    worker = await waiting(stage, event_topic("go"))
    await event(stage, "go")
    lease = await worker.claim_one()
    outcome = Outcome(lease.hold, Ending.WAIT, wait=Wait((event_topic("go"),)), consumed=(1,))
    await worker.exchange([outcome])
    assert await stage.state() is State.WAITING
    assert list(await stage.store.inbox("task-1")) == []


@pytest.mark.parametrize(("need", "wakes"), [(1, 1), (2, 2), (3, 3), (9, 3)])
async def test_the_wait_says_how_many_must_have_come(stage: Stage, need: int, wakes: int) -> None:
    await waiting(stage, *(event_topic(name) for name in "abc"), need=need)
    for count, name in enumerate("abc", start=1):
        await event(stage, name)
        await event(stage, name)  # a second one of the same name counts for nothing
        assert (await stage.state() is State.READY) == (count >= wakes)


async def test_what_came_before_counts_towards_the_number(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await event(stage, "a")
    await worker.wait(lease, event_topic("a"), event_topic("b"), event_topic("c"), need=2)
    assert (await stage.task()).unmet == 1
    await event(stage, "c")
    assert await stage.state() is State.READY


async def test_a_topic_named_twice_counts_once(stage: Stage) -> None:
    await waiting(stage, event_topic("a"), event_topic("a"), event_topic("b"), need=2)
    await event(stage, "a")
    assert await stage.state() is State.WAITING
    await event(stage, "b")
    assert await stage.state() is State.READY


async def test_time_ends_a_wait(stage: Stage) -> None:
    worker = await waiting(stage, event_topic("go"), until=START + 5_000)
    assert (await stage.after(4_999)).next_due == START + 5_000
    assert await stage.state() is State.WAITING
    await stage.after(1)
    assert (await worker.claim_one()).messages == ()


async def test_a_task_can_wait_for_nothing_but_time(stage: Stage) -> None:
    await waiting(stage, until=START + 5_000)
    assert await stage.state() is State.WAITING
    await stage.after(5_000)
    assert await stage.state() is State.READY


async def test_a_time_that_has_passed_ends_the_wait_at_once(stage: Stage) -> None:
    await waiting(stage, event_topic("go"), until=START)
    assert await stage.state() is State.READY


@pytest.mark.parametrize("ending", ["done", "fail", "cancel"])
async def test_the_end_of_another_task_in_any_way_is_worth_waking_for(stage: Stage, ending: str) -> None:
    await stage.add(spec("other", agent="slow"))
    worker = await waiting(stage, task_topic("other"))
    if ending == "cancel":
        await stage.signal(SignalKind.CANCEL, "other")
    else:
        slow = stage.worker("slow")
        await getattr(slow, ending)(await slow.claim_one())
    assert (await worker.claim_one()).task_id == "task-1"


async def test_a_task_that_has_ended_or_is_unknown_is_not_waited_for(stage: Stage) -> None:
    await stage.add(spec("other"))
    await stage.worker().run_all()
    await waiting(stage, task_topic("other"), task_topic("nobody"), need=2)
    assert await stage.state() is State.READY


async def test_a_goal_can_be_waited_for(stage: Stage) -> None:
    await stage.add_goal([spec("a", agent="slow"), spec("b", agent="slow")], "a>b")
    await waiting(stage, task_topic("goal-1"))
    slow = stage.worker("slow")
    await slow.done(await slow.claim_one())
    assert await stage.state() is State.WAITING
    await slow.done(await slow.claim_one())
    assert await stage.state() is State.READY


async def test_a_goal_that_is_waited_for_answers_also_when_it_fails_or_is_cancelled(stage: Stage) -> None:
    await stage.add_goal([spec("a", agent="slow")])
    await waiting(stage, task_topic("goal-1"))
    await stage.signal(SignalKind.CANCEL, "goal-1")
    assert await stage.state() is State.READY


async def test_children_answer_their_parent(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    children = [f"task-1.{name}" for name in "abc"]
    await worker.record(lease, spawned=tuple(spec(child) for child in children))
    await worker.wait(lease, *(task_topic(child) for child in children), need=3)
    a, b, c = await worker.claim(3)
    await worker.done(a)
    await worker.fail(b)
    assert await stage.state() is State.WAITING
    await stage.signal(SignalKind.CANCEL, c.task_id)
    assert await stage.state() is State.READY


async def test_children_that_ended_before_the_wait_are_counted(stage: Stage) -> None:
    await stage.add(spec())
    parent, helper = stage.worker(), stage.worker()
    lease = await parent.claim_one()
    await parent.record(lease, spawned=(spec("task-1.a"), spec("task-1.b")))
    await helper.run_all()
    await parent.wait(lease, task_topic("task-1.a"), task_topic("task-1.b"), need=2)
    assert await stage.state() is State.READY


async def test_many_tasks_wait_for_one(stage: Stage) -> None:
    await stage.add(spec("other", agent="slow"), *(spec(f"w{number}") for number in range(50)))
    worker = stage.worker()
    for lease in await worker.claim(50):
        await worker.wait(lease, task_topic("other"))
    slow = stage.worker("slow")
    await slow.done(await slow.claim_one())
    assert len(await worker.ids()) == 50


async def test_a_paused_task_is_woken_but_not_claimed(stage: Stage) -> None:
    worker = await waiting(stage, event_topic("go"))
    await stage.signal(SignalKind.PAUSE)
    await event(stage, "go")
    assert await stage.state() is State.READY
    assert await worker.ids() == []
    await stage.signal(SignalKind.RESUME)
    assert await worker.ids() == ["task-1"]


async def test_a_cancelled_task_waits_for_nothing_any_more(stage: Stage) -> None:
    await waiting(stage, event_topic("go"), until=START + 5_000)
    await stage.signal(SignalKind.CANCEL)
    delivered = await stage.signal(SignalKind.EVENT, topic=event_topic("go"))
    assert delivered.delivery == "finished"
    swept = await stage.after(5_000)
    assert (swept.changed, await stage.state()) == (0, State.CANCELLED)


async def test_two_waits_do_not_mix(stage: Stage) -> None:
    worker = await waiting(stage, event_topic("a"), event_topic("b"), until=START + 100)
    await stage.after(100)
    await worker.wait(await worker.claim_one(), event_topic("c"))
    await event(stage, "a")
    assert await stage.state() is State.WAITING, "what an earlier wait was for ends no later one"
    await event(stage, "c")
    assert await stage.state() is State.READY


async def test_no_wake_up_is_lost_whenever_the_answer_comes(stage: Stage) -> None:
    """Forty tasks wait while forty answers arrive at the same time: whichever comes first, none waits for ever."""
    names = [f"t{number}" for number in range(40)]
    await stage.add(*(spec(name) for name in names))
    worker = stage.worker()
    leases = await worker.claim(40)

    async def answer(name: str) -> None:
        await stage.signal(SignalKind.ANSWER, name, topic=answer_topic("call"), data=name)

    waits = [stage.worker().wait(lease, answer_topic("call")) for lease in leases]
    await asyncio.gather(*(coroutine for pair in zip(waits, map(answer, names), strict=True) for coroutine in pair))
    woken = await worker.claim(100)
    assert sorted(lease.task_id for lease in woken) == sorted(names)
    assert all(lease.messages[0].data == lease.task_id for lease in woken)


async def test_no_end_of_a_child_is_lost_whenever_it_comes(stage: Stage) -> None:
    await stage.add(*(spec(f"p{number}") for number in range(20)))
    worker = stage.worker()
    parents = await worker.claim(20)
    for lease in parents:
        await worker.record(lease, spawned=(spec(f"{lease.task_id}.c", agent="child"),))
    helper = stage.worker("child")
    children = {lease.parent: lease for lease in await helper.claim(20)}
    calls = []
    for lease in parents:
        calls.append(stage.worker().wait(lease, task_topic(f"{lease.task_id}.c")))
        calls.append(stage.worker("child").done(children[lease.task_id]))
    assert set(await asyncio.gather(*calls)) == {Answer.ACCEPTED}
    assert len(await worker.ids()) == 20
