"""The result of a tool that is alone in its turn is recorded with the next request: what that must not change."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import Hooks
from pydantic_ai.models import ModelRequestContext

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.tools import tool
from tenuto.stores.base import Store
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import StepState
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import ended, until, working


async def paused(store: Store, agent: Agent) -> str:
    """The id of a task that has come to rest because it was paused."""
    task_id = await ask(store, agent)
    await until(store, task_id, lambda task: task.paused and task.state is State.READY)
    return task_id


async def test_the_tool_of_a_paused_turn_runs_once_and_its_request_costs_nothing(store: Store) -> None:
    # Given an agent with two requests a day that is paused while its only tool of the turn runs
    await store.put_limit(Limit("k", rate=1, period=86_400_000, burst=2))
    script = Scripted([call("look", "c1", place="shop")], "done")
    runs: list[str] = []

    async def look(ctx: RunContext[AgentContext], place: str) -> str:
        runs.append(place)
        await store.signal([Signal(str(ctx.conversation_id), SignalKind.PAUSE)])
        return place

    agent = Agent("buyer", "Buy.", script.model, [look], limit_key="k")
    async with working(store, agent):
        task_id = await paused(store, agent)
        # Then what the tool gave is on record, and nothing is counted for a request that was not sent
        entries = await store.ledger(task_id)
        assert [entry.state for entry in entries] == [CallState.SETTLED] * len(entries)
        assert sum(entry.counted.requests for entry in entries) == 1
        # When it goes on
        await store.signal([Signal(task_id, SignalKind.RESUME)])
        task = await ended(store, task_id)
    # Then the tool has not run again, and the second request of the day was still there
    assert task.state is State.DONE, task.error
    assert runs == ["shop"]
    assert script.asked == [1, 2]


async def test_a_result_does_not_wait_for_what_comes_after_it(store: Store) -> None:
    # Given an agent whose next request is held up after its tool has returned
    script = Scripted([call("look", "c1", place="shop")], "done")
    hooks = Hooks[Any]()
    reached, go_on = asyncio.Event(), asyncio.Event()

    @hooks.on.before_model_request
    async def hold_up(ctx: RunContext[Any], request: ModelRequestContext) -> ModelRequestContext:
        if len(script.asked) == 1:
            reached.set()
            await go_on.wait()
        return request

    async def look(place: str) -> str:
        return place

    agent = Agent("buyer", "Buy.", script.model, [look], capabilities=[hooks])
    async with working(store, agent):
        task_id = await ask(store, agent)
        # When it is held up
        await reached.wait()
        # Then the result is recorded nevertheless
        async with asyncio.timeout(60):
            while not any(step.key.endswith("/look") for step in await store.journal(task_id)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        go_on.set()
        assert (await ended(store, task_id)).state is State.DONE


async def test_the_result_of_a_tool_that_may_run_only_once_is_recorded_at_once(store: Store) -> None:
    # Given an agent whose hook looks into the journal when its once-tool has returned
    script = Scripted([call("pay", "c1", cents=5)], "done")
    hooks = Hooks[Any]()
    seen: list[StepState] = []

    @hooks.on.before_model_request
    async def look_it_up(ctx: RunContext[Any], request: ModelRequestContext) -> ModelRequestContext:
        steps = await store.journal(str(ctx.conversation_id))
        seen.extend(step.state for step in steps if step.key.endswith("/pay"))
        return request

    @tool(effect="once")
    async def pay(cents: int) -> str:
        """Pays."""
        return "paid"

    agent = Agent("buyer", "Buy.", script.model, [pay], capabilities=[hooks])
    async with working(store, agent):
        # When it works
        task = await ended(store, await ask(store, agent))
    # Then the payment was on record before anything followed
    assert task.state is State.DONE, task.error
    assert seen == [StepState.DONE]
