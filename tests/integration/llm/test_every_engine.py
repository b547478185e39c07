"""What agents ask of the store beyond the journal, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.tools import tool
from tenuto.client import Client
from tenuto.errors import NotFound
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tests.conformance.engines import ENGINES
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import Clock, ended, until, waits, working


async def test_a_conversation_with_large_values_is_forked(engine: Store) -> None:
    # Given a task whose tool gave so much that it is kept apart
    script = Scripted([call("read", "c1")], "done", "more")
    ran: list[str] = []

    def read() -> str:
        ran.append("read")
        return "word " * 20_000

    agent = Agent("reader", None, script.model, [read])
    client = Client(engine)
    async with working(engine, agent):
        old = await ended(engine, await ask(engine, agent))
        # When it is forked after each of its turns
        first = await ended(engine, await client.fork_task(old.id, 1))
        second = await ended(engine, await client.fork_task(old.id, 2, message="go on"))
    # Then nothing is asked or run again, and the conversation is whole
    assert [first.state, second.state] == [State.DONE, State.DONE], (first.error, second.error)
    assert script.asked == [1, 2, 2, 3]
    assert ran == ["read"]
    turns = await client.get_turns(second.id)
    assert len(turns) == 1
    assert len(turns[0].messages[2]["parts"][0]["content"]) == 100_000


async def test_what_a_model_says_reaches_who_follows_through_another_connection(engine: Store, tmp_path: Path) -> None:
    # Given a model that goes on only when somebody has heard its first words
    heard = asyncio.Event()

    async def says(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[str]:
        yield "Once upon "
        await heard.wait()
        yield "a time."

    agent = Agent("writer", None, FunctionModel(stream_function=says), stream=True)
    kind = next(kind for kind in ENGINES.values() if type(kind.make(tmp_path, Clock())) is type(engine))
    other = kind.make(tmp_path, Clock()) if kind.durable else engine
    told: list[str] = []
    async with working(engine, agent):
        task_id = await ask(engine, agent)
        await other.open()
        # When that is heard through another connection to the store
        async with asyncio.timeout(60):
            async for event in Client(other).subscribe_to_updates(task_ids=task_id, event_types=["tokens"]):
                told.append(event.data["data"]["text"])
                heard.set()
        task = await ended(engine, task_id)
    if other is not engine:
        await other.close()
    # Then nothing is left out
    assert task.state is State.DONE, task.error
    assert "".join(told) == "Once upon a time."


async def test_open_calls_are_found_over_all_tasks_and_who_decided_them_is_on_record(engine: Store) -> None:
    # Given two agents that wait for people, one of them twice, and a task that has ended
    def delete(path: str) -> str:
        """Deletes a file."""
        return f"{path} is gone"

    tools = [tool(requires_approval=True)(delete)]
    first, second = (Scripted([call("delete", f"c{number}", path="a")], "done") for number in (1, 2))
    one, two = Agent("one", None, first.model, tools), Agent("two", None, second.model, tools)
    plain = Agent("plain", None, Scripted("done").model)
    client = Client(engine)
    async with working(engine, one, two, plain):
        await ended(engine, await ask(engine, plain))
        ids = [await ask(engine, one), await ask(engine, one), await ask(engine, two)]
        for task_id in ids:
            await until(engine, task_id, waits)
        # When somebody asks what there is to decide
        found = await client.open_calls()
        # Then each call is there with its task, of one agent or owner where that is said, and no more than wanted
        assert sorted((each.task_id, each.id, each.agent) for each in found) == sorted(
            zip(ids, ("c1", "c1", "c2"), ("one", "one", "two"), strict=True)
        )
        assert [each.task_id for each in await client.open_calls(agent="two")] == [ids[2]]
        assert await client.open_calls(owner_id="nobody") == []
        assert len(await client.open_calls(limit=2)) == 2
        with pytest.raises(NotFound, match="no task 'nope'"):
            await client.open_calls("nope")
        why = await client.why(ids[2])
        assert any(f"tenuto task approve {ids[2]} c2" in sentence for sentence in why.because)
        # And what was decided is gone from the list, and stays on record
        await client.reject(ids[2], "c2", "keep it", by="ann")
        await ended(engine, ids[2])
        assert {each.task_id for each in await client.open_calls()} == {*ids[:2]}
    said = {
        "tool_call_id": "c2",
        "tool": "delete",
        "kind": "approval",
        "approved": False,
        "by": "ann",
        "note": "keep it",
    }
    assert (await client.get_turns(ids[2]))[0].answered == [said]
    page = await engine.events(task_id=ids[2])
    assert said in [event.data.get("data") for event in page.events if event.data.get("name") == "call_answered"]
