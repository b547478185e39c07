"""What toolsets offer: on record with the turn that it was asked for in, whatever has become of it meanwhile."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import FunctionToolset, RunContext
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.toolsets import DynamicToolset

from tenuto.agents.llm.agent import Agent
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.testing import Reply, Script, ScriptedModel, ToolCall
from tests.integration.llm.rig import ask
from tests.integration.llm.test_mcp import running
from tests.integration.workers.rig import Clock, crashed, ended, eventually, until, working
from tests.servers.ports import free_port

LATER = RetryPolicy(max_retries=3, base=60_000)


class Moody:
    """A tool that fails when it is called for the first time."""

    def __init__(self) -> None:
        self.called = 0

    def think(self) -> str:
        """Thinks."""
        self.called += 1
        if self.called == 1:
            raise OSError("not now")
        return "thought"


@contextmanager
def renamed(name: str) -> Iterator[None]:
    """Servers that are started inside offer `look` under another name."""
    os.environ["LOOK"] = name
    try:
        yield
    finally:
        del os.environ["LOOK"]


def thinking(*more: Reply | str) -> Script:
    return [Reply(tools=[ToolCall("look", {"place": "shop"})]), Reply(tools=[ToolCall("think")]), *more]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_a_server_that_is_gone_is_not_missed_by_who_goes_on_without_it(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    # Given an agent that has used a server, and fails in a tool of its own then
    (log := tmp_path / "mcp.log").touch()
    port, moody = free_port(), Moody()
    shop = MCPToolset(f"http://127.0.0.1:{port}/mcp", id="shop")
    agent = Agent("buyer", "Buy.", ScriptedModel(thinking("done")), [moody.think], toolsets=[shop], retry=LATER)
    async with working(store, agent):
        with running(port, log):
            task_id = await ask(store, agent)
            await until(store, task_id, lambda task: task.state is State.SCHEDULED)
        # When it goes on, and the server is gone
        clock.forward(120)
        task = await ended(store, task_id)
    # Then it comes to its end
    assert task.state is State.DONE, task.error
    assert task.attempt == 2
    assert moody.called == 2


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("cached", "offered"), [(True, "look"), (False, "peek")])
async def test_a_list_that_has_changed_is_for_turns_to_come(
    store: Store, clock: Clock, tmp_path: Path, cached: bool, offered: str
) -> None:
    # Given an agent that has used a server, and fails then
    (log := tmp_path / "mcp.log").touch()
    port, moody = free_port(), Moody()
    shop = MCPToolset(f"http://127.0.0.1:{port}/mcp", id="shop", cache_tools=cached)
    model = ScriptedModel(thinking("done"))
    agent = Agent("buyer", "Buy.", model, [moody.think], toolsets=[shop], retry=LATER)
    async with working(store, agent):
        with running(port, log):
            task_id = await ask(store, agent)
            await until(store, task_id, lambda task: task.state is State.SCHEDULED)
        # When it goes on, and the server offers something else
        clock.forward(120)
        with renamed("peek"), running(port, log):
            task = await ended(store, task_id)
    # Then what was asked before was asked with what there was, and later turns have what is on offer now, if the agent
    # asks for it in each turn
    assert task.state is State.DONE, task.error
    assert [offered for call in model.calls for offered in call.tools if offered in ("look", "peek")] == [
        "look",
        "look",
        offered,
    ]


async def at_once() -> None:
    """No wait."""


def offering(
    names: Callable[[RunContext[Any]], list[str]], called: list[str], wait: Callable[[], Awaitable[None]] = at_once
) -> DynamicToolset[Any]:
    """A toolset whose tools are named anew each time that it is asked; each waits, and then notes its call."""

    def make(ctx: RunContext[Any]) -> FunctionToolset[Any]:
        toolset = FunctionToolset[Any](id="named")
        for name in names(ctx):

            async def tool(place: str, name: str = name) -> str:
                await wait()
                called.append(name)
                return f"{place} is open"

            toolset.add_function(tool, name=name)
        return toolset

    return DynamicToolset(make, id="dynamic")


async def test_tools_that_are_made_for_each_turn_are_on_record_with_it(store: Store, clock: Clock) -> None:
    was_cut, after = True, 0
    while was_cut:
        after += 1
        # Given an agent with tools that are made anew for each turn, and a worker that is cut off
        called: list[str] = []
        made = 0

        def names(ctx: RunContext[Any]) -> list[str]:
            nonlocal made
            made += 1
            return ["look"]

        script: Script = [
            Reply(tools=[ToolCall("look", {"place": "shop"})]),
            Reply(tools=[ToolCall("look", {"place": "bank"})]),
            "done",
        ]
        agent = Agent("buyer", "Buy.", ScriptedModel(script), toolsets=[offering(names, called)])
        task_id = await ask(store, agent)
        was_cut = await crashed(store, task_id, [agent], after, answered=True)
        clock.forward(60)
        # When another one goes on
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then each turn has its own entry, and what was on record was neither made nor called again
        assert task.state is State.DONE, (after, task.error)
        assert len(called) <= 2 + was_cut, (after, called)
        keys = [step.key for step in await store.journal(task_id) if "get_tools" in step.key]
        assert keys == [f"turn-{turn}/dynamic_toolset__dynamic.get_tools#0" for turn in (1, 2, 3)]
    assert after > 8


async def test_a_tool_that_is_made_no_more_is_told_to_the_model(store: Store) -> None:
    # Given an agent whose worker is stopped before it has called a tool
    called: list[str] = []
    offered = ["look"]

    def answer(request: Any) -> Reply:
        if request.turn == 1:
            return Reply(tools=[ToolCall("look", {"place": "shop"})])
        return Reply(text=" | ".join(result.text for result in request.results))

    agent = Agent("buyer", "Buy.", ScriptedModel(answer), toolsets=[offering(lambda _: offered, called)])
    held = asyncio.Event()

    async def wait() -> None:
        await held.wait()

    slow = Agent("buyer", "Buy.", ScriptedModel(answer), toolsets=[offering(lambda _: offered, called, wait)])
    async with working(store, slow):
        task_id = await ask(store, slow)
        await eventually(lambda: has_said(store, task_id))
    # When the tool is not made any more
    offered[:] = ["think"]
    async with working(store, agent):
        task = await ended(store, task_id)
    # Then the model hears of it, and goes on
    assert task.state is State.DONE, task.error
    assert b"The tool 'look' is not there any more." in bytes(task.result or b"")
    assert called == []


async def has_said(store: Store, task_id: str) -> bool:
    """Whether the model's first answer is on record."""
    return any(step.key == "turn-1/model#0" and step.value is not None for step in await store.journal(task_id))
