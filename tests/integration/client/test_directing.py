"""Directing: what each verb does to the task, and what it says when it cannot."""

from __future__ import annotations

import pytest

from tenuto.client import Client
from tenuto.errors import AlreadyFinished, Conflict, InvalidInput, NotFound, Unstorable
from tenuto.plans import goal
from tenuto.tasks.states import State, Status
from tests.integration.client.conftest import Hands, spec


async def test_every_verb_that_acts_refuses_unknown_ids(client: Client) -> None:
    acts = (
        client.cancel_task("nobody"),
        client.pause_task("nobody"),
        client.resume_task("nobody"),
        client.retry_task("nobody"),
        client.elevate_task("nobody", 1),
        client.steer_task("nobody", "faster"),
        client.send_event("nobody", "tick"),
        client.complete_deferred_tool("nobody", "call", 1),
        client.approve("nobody", "call"),
        client.reject("nobody", "call"),
        client.resolve_step("nobody", "step", "done"),
    )
    for act in acts:
        with pytest.raises(NotFound, match="there is no task 'nobody'"):
            await act


async def test_acting_on_a_finished_task_names_its_state(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t"))
    await hands.finish()
    for act in (client.cancel_task("t"), client.pause_task("t"), client.steer_task("t", "x"), client.approve("t", "c")):
        with pytest.raises(AlreadyFinished, match="task 't' is done: it is too late to") as caught:
            await act
        assert caught.value.state == "done"


async def test_pause_resume_and_elevate(client: Client, hands: Hands) -> None:
    await client.enqueue_batch(None, [spec("first"), spec("second")])
    await client.pause_task("first", "lunch")
    await client.pause_task("first")
    data = await client.get_task_data("first")
    assert data is not None
    assert (data.paused, data.reason) == (True, "lunch")
    await client.resume_task("first")
    await client.elevate_task("second", 9)
    assert await hands.finish() == "second"
    with pytest.raises(Conflict, match="a priority is a whole number"):
        await client.elevate_task("first", "high")  # type: ignore[arg-type]


async def test_messages_arrive_in_order_and_once_under_a_key(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t"))
    await client.steer_task("t", [{"role": "user", "content": "please focus"}, "now"])
    assert await client.send_event("t", "tick", {"n": 1}, key="k")
    assert not await client.send_event("t", "tick", {"n": 1}, key="k")
    [lease] = await hands.claim()
    assert [(message.topic, message.data) for message in lease.messages] == [
        ("steer", {"role": "user", "content": "please focus"}),
        ("steer", "now"),
        ("event:tick", {"n": 1}),
    ]


async def test_what_cannot_be_sent(client: Client) -> None:
    await client.enqueue_task(None, spec("t"))
    with pytest.raises(InvalidInput, match="nothing to steer with"):
        await client.steer_task("t", [])
    with pytest.raises(InvalidInput, match="a text, a message or a list of them, not int: 5"):
        await client.steer_task("t", 5)  # type: ignore[arg-type]  # what people pass
    with pytest.raises(Unstorable, match="the data of event 'tick' cannot be stored"):
        await client.send_event("t", "tick", object())
    with pytest.raises(InvalidInput, match="how must be 'done', 'retry' or 'fail'"):
        await client.resolve_step("t", "step", "perhaps")  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="no step 'step' whose outcome is unknown"):
        await client.resolve_step("t", "step", "done")
    assert await client.inbox("t") == []


async def test_an_answer_may_come_before_or_after_the_wait_and_the_first_counts(client: Client, hands: Hands) -> None:
    # Given a task that waits for the answer to a call
    await client.enqueue_task(None, spec("t"))
    [lease] = await hands.claim()
    await hands.wait(lease, "answer:call-1")
    # When it is answered twice, and another call is answered early
    assert await client.complete_deferred_tool("t", "call-1", {"rows": 3})
    assert not await client.complete_deferred_tool("t", "call-1", {"rows": 4})
    assert await client.approve("t", "call-2", "fine")
    assert not await client.reject("t", "call-2")
    # Then it goes on with the first answers
    [lease] = await hands.claim()
    assert [message.data for message in lease.messages] == [{"rows": 3}, {"approved": True, "note": "fine"}]


async def test_retry_of_one_task(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t"))
    with pytest.raises(Conflict, match="only what has ended can be retried"):
        await client.retry_task("t")
    [lease] = await hands.claim()
    await hands.fail(lease)
    await client.retry_task("t")
    await hands.finish(result=1)
    assert await client.get_task_result("t", timeout=60) == 1


async def test_dead_letters_are_listed_and_replayed_in_bulk(client: Client, hands: Hands) -> None:
    # Given failed tasks of two owners, and a goal that failed with its node
    await client.enqueue_batch(None, [spec(owner="ada") for _ in range(700)])
    await client.enqueue_task(None, spec("bobs", owner="bob"))
    building = goal(id="g", owner_id="ada")
    building.add(spec("last"), after=building.add(spec("node")))
    await client.submit_goal(building)
    while leases := await hands.claim(slots=500):
        for lease in leases:
            await hands.fail(lease)
    assert len(await client.list_tasks(states=["failed"], limit=1_000)) == 703
    # When those of one owner are replayed
    assert await client.retry_failed(owner_id="ada") == 701
    # Then they run again, the goal from where it failed, and nobody else's does
    assert [task.id for task in await client.list_tasks(states=["failed"])] == ["bobs"]
    assert await client.get_task_status("g") is Status.PROCESSING
    last = await client.get_task_data("last")
    assert last is not None
    assert last.state is State.BLOCKED
    assert await client.retry_failed(agent="somebody") == 0


async def test_a_dead_letter_in_a_goal_that_goes_on_is_replayed_alone(client: Client, hands: Hands) -> None:
    building = goal(id="g")
    building.add(spec("after"), after=building.add(spec("broken")))
    building.add(spec("slow", agent="slow"))
    await client.submit_goal(building)
    [lease] = await hands.claim()
    await hands.fail(lease)
    assert await client.retry_failed() == 1
    assert await hands.finish() == "broken"
    assert await hands.finish() == "after"
    assert await hands.finish("slow") == "slow"
    assert await client.get_task_result("g", timeout=60) == {"broken": None, "after": None, "slow": None}


async def test_cancelling_a_goal_ends_its_tasks(client: Client) -> None:
    building = goal(id="g")
    building.add(spec("b"), after=building.add(spec("a")))
    await client.submit_goal(building)
    await client.cancel_goal("g", "enough")
    assert {task.state for task in await client.list_tasks()} == {State.CANCELLED}
