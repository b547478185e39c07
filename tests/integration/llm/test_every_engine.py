"""What agents ask of the store beyond the journal, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tests.conformance.engines import ENGINES
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import Clock, ended, working


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = ENGINES[request.param].make(tmp_path, Clock())
    await store.open()
    yield store
    await store.close()


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
        async with asyncio.timeout(20):
            async for event in Client(other).subscribe_to_updates(task_ids=task_id, event_types=["tokens"]):
                told.append(event.data["data"]["text"])
                heard.set()
        task = await ended(engine, task_id)
    if other is not engine:
        await other.close()
    # Then nothing is left out
    assert task.state is State.DONE, task.error
    assert "".join(told) == "Once upon a time."
