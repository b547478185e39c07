"""Steering that comes at the last instant: it is in the request that is announced after it, and nothing runs twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import RunContext
from pydantic_ai.capabilities import Hooks
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.stores.base import Store
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState
from tests.conformance.engines import ENGINES
from tests.integration.llm.rig import Scripted, ask, call, prompts
from tests.integration.workers.rig import Clock, ended, working


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = ENGINES[request.param].make(tmp_path, Clock())
    await store.open()
    yield store
    await store.close()


def speaking(store: Store, turn: int, *words: str) -> Hooks[AgentContext]:
    """Steers the task in the last instant before the request of `turn`: first with one word, then with the next."""
    hooks: Hooks[AgentContext] = Hooks()
    left = list(words)

    @hooks.on.before_model_request
    async def speak(ctx: RunContext[AgentContext], request: ModelRequestContext) -> ModelRequestContext:
        if sum(message.kind == "response" for message in request.messages) == turn - 1 and left:
            await store.signal([Signal(str(ctx.conversation_id), SignalKind.STEER, data=left.pop(0))])
        return request

    return hooks


@pytest.mark.parametrize("turn", [1, 2, 3])
async def test_what_is_said_in_the_last_instant_is_in_the_request(engine: Store, turn: int) -> None:
    # Given an agent that is steered twice, when its request is ready to be sent
    script = Scripted([call("look", "c1", place="shop")], [call("look", "c2", place="bank")], "done")
    ran: list[str] = []

    def look(place: str) -> str:
        ran.append(place)
        return place

    agent = Agent("buyer", "Buy.", script.model, [look], hooks=speaking(engine, turn, "first", "second"))
    # When it works
    async with working(engine, agent):
        task = await ended(engine, await ask(engine, agent))
    # Then that very request says so, once and in order, and it is the only one of its turn
    assert task.state is State.DONE, task.error
    assert script.asked == [1, 2, 3]
    assert script.said == [["go", "first", "second"] if each >= turn else ["go"] for each in (1, 2, 3)]
    assert not await engine.inbox(task.id)
    # And no tool ran again, nor is anything counted for a request that was not sent
    assert ran == ["shop", "bank"]
    assert [call.state for call in await engine.ledger(task.id)] == [CallState.SETTLED] * 3


async def test_what_is_said_in_the_last_instant_is_in_a_streamed_request(store: Store) -> None:
    said: list[list[str]] = []

    async def says(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        said.append(prompts(messages))
        if len(said) == 1:
            yield {0: DeltaToolCall("look", '{"place": "shop"}', tool_call_id="c1")}
        else:
            yield "done"

    def look(place: str) -> str:
        return place

    model = FunctionModel(stream_function=says)
    agent = Agent("buyer", "Buy.", model, [look], stream=True, hooks=speaking(store, 2, "hurry"))
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert said == [["go"], ["go", "hurry"]]


async def test_an_agents_own_hooks_for_errors_do_not_see_it(store: Store) -> None:
    # Given an agent that is steered in the last instant, with a hook that takes any error for an answer
    script = Scripted("done")
    hooks = speaking(store, 1, "hurry")
    errors: list[Exception] = []

    @hooks.on.model_request_error
    async def give_up(ctx: RunContext[AgentContext], *, request_context: Any, error: Exception) -> Any:
        errors.append(error)
        raise error

    agent = Agent("buyer", "Buy.", script.model, hooks=hooks)
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then there was none
    assert task.state is State.DONE, task.error
    assert errors == []
    assert script.said == [["go", "hurry"]]
