"""Tools that wait through their task's context: whatever else happens in the turn, each runs to its end once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tenuto.agents.function import task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.event import EventKind
from tenuto.tasks.states import State
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import ended, eventually, working


@task_agent
async def double(payload: int) -> int:
    return payload * 2


async def doubled(number: int) -> int:
    """Has another agent do the work."""
    context = current_context()
    child = await context.spawn(double.create_task(payload=number))
    return int((await context.wait_for(child))[0].result)


async def test_a_tool_that_was_approved_may_wait_beside_others(store: Store) -> None:
    # Given two calls that need an approval: one waits for a child then, the other happens once
    done = Counter[str]()

    @tool(requires_approval=True)
    async def double_it(number: int) -> int:
        result = await doubled(number)
        done["double"] += 1
        return result

    @tool(requires_approval=True, effect="once")
    async def pay(cents: int) -> str:
        await asyncio.sleep(0)
        done["pay"] += 1
        return "paid"

    script = Scripted([call("double_it", "c1", number=4), call("pay", "c2", cents=1)], "done")
    agent = Agent("buyer", None, script.model, [double_it, pay])
    client = Client(store)
    async with working(store, agent, double):
        task_id = await ask(store, agent)

        async def asked() -> bool:
            return len(await client.open_calls(task_id)) == 2

        await eventually(asked)
        # When both are approved
        for call_id in ("c1", "c2"):
            assert await client.approve(task_id, call_id)
        task = await ended(store, task_id)
    # Then each has run to its end, once
    assert task.state is State.DONE, task.error
    assert done == {"double": 1, "pay": 1}
    steps = {step.key: bytes(step.value or b"") for step in await store.journal(task_id)}
    assert b"8" in steps["turn-1/call-c1/double_it@approved"]


async def test_a_tool_waits_whatever_it_makes_of_being_interrupted(store: Store) -> None:
    # Given a tool that catches everything, and one whose group of tasks wraps it in another exception
    async def greedy(number: int) -> int:
        try:
            return await doubled(number)
        except BaseException:  # noqa: BLE001 - what it must not get away with
            return -1

    async def grouped(number: int) -> int:
        async with asyncio.TaskGroup() as group:
            one = group.create_task(doubled(number))
        return one.result()

    script = Scripted([call("greedy", "c1", number=2), call("grouped", "c2", number=3)], "done")
    agent = Agent("buyer", None, script.model, [greedy, grouped], max_retries=0)
    # When an agent calls both
    async with working(store, agent, double):
        task_id = await ask(store, agent)
        task = await ended(store, task_id)
    # Then both give what they have waited for
    assert task.state is State.DONE, task.error
    steps = {step.key: bytes(step.value or b"") for step in await store.journal(task_id)}
    assert b'"result":4' in steps["turn-1/call-c1/greedy"]
    assert b'"result":6' in steps["turn-1/call-c2/grouped"]


async def test_a_tool_that_waits_tells_its_progress_once(store: Store) -> None:
    # Given a tool that tells how far it is, waits for a child, and runs from its start when that has ended
    begun = 0

    async def work(number: int) -> int:
        """Has something worked out."""
        nonlocal begun
        begun += 1
        await current_context().progress(0.1, "begun")
        found = await doubled(number)
        await current_context().progress(0.9, "found")
        return found

    script = Scripted([call("work", "c1", number=2)], "done")
    agent = Agent("buyer", None, script.model, [work])
    # When an agent calls it
    async with working(store, agent, double):
        task = await ended(store, await ask(store, agent))
    # Then each was told once
    assert (task.state, begun) == (State.DONE, 2)
    events = (await store.events(task_id=task.id)).events
    assert [event.data["message"] for event in events if event.kind is EventKind.PROGRESS] == ["begun", "found"]


def test_a_call_is_either_answered_by_somebody_or_approved() -> None:
    with pytest.raises(InvalidInput, match="nobody can approve it as well"):
        deferred(requires_approval=True)(doubled)
