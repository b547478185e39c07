"""OpenAI's Responses that live on at the provider: continued, fetched, made in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import APIConnectionError, AsyncOpenAI, BadRequestError, NotFoundError
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider

from tenuto.testing import Endpoint, Reply, Script, ToolCall
from tests.integration.testing.clients import openai_sdk


@asynccontextmanager
async def served(script: Script) -> AsyncIterator[tuple[Endpoint, AsyncOpenAI]]:
    async with Endpoint(script) as endpoint, openai_sdk(endpoint) as sdk:
        yield endpoint, sdk


async def test_a_response_is_continued_by_its_id() -> None:
    # Given
    async with served([Reply(tools=[ToolCall("weather", {"city": "Oslo"})]), "rain", "still"]) as (endpoint, sdk):
        model = OpenAIResponsesModel("m", provider=OpenAIProvider(openai_client=sdk))
        agent = Agent(model, model_settings=OpenAIResponsesModelSettings(openai_previous_response_id="auto"))

        @agent.tool_plain
        def weather(city: str) -> str:
            return f"rain over {city}"

        # When
        first = await agent.run("How is it?")
        second = await agent.run("And now?", message_history=first.all_messages())
        # Then the whole conversation is known, though only its end was sent
        assert second.output == "still"
        last = endpoint.calls[-1]
        assert (last.turn, len(last.messages)) == (3, 1)
        assert "rain over Oslo" in last.text


async def test_a_response_is_fetched_by_its_id_after_its_stream_broke() -> None:
    async with served([Reply(text="worth its money", cut_after_events=3)]) as (_, sdk):
        # Given
        stream = await sdk.responses.create(model="m", input="Go", stream=True)
        created = await anext(aiter(stream))
        assert created.type == "response.created"
        with pytest.raises(APIConnectionError):
            _ = [event async for event in stream]
        # When
        answer = await sdk.responses.retrieve(created.response.id)
        # Then
        assert (answer.status, answer.output_text) == ("completed", "worth its money")


async def test_what_is_not_kept_is_not_found() -> None:
    async with served(["one", "two"]) as (_, sdk):
        answer = await sdk.responses.create(model="m", input="Go", store=False)
        with pytest.raises(NotFoundError, match="not found"):
            await sdk.responses.retrieve(answer.id)
        with pytest.raises(BadRequestError) as refused:
            await sdk.responses.create(model="m", input="On", previous_response_id=answer.id)
        assert refused.value.code == "previous_response_not_found"


async def test_a_response_in_the_background_is_there_when_it_is_let_go() -> None:
    async with served([Reply(text="done", hold="work")]) as (endpoint, sdk):
        # Given
        answer = await sdk.responses.create(model="m", input="Go", background=True)
        assert answer.status == "queued"
        assert (await sdk.responses.retrieve(answer.id)).status == "in_progress"
        # When
        endpoint.release("work")
        stream = await sdk.responses.retrieve(answer.id, stream=True)
        events = [event async for event in stream]
        # Then
        assert events[-1].type == "response.completed"
        assert (await sdk.responses.retrieve(answer.id)).output_text == "done"
        rest = [event async for event in await sdk.responses.retrieve(answer.id, stream=True, starting_after=4)]
        assert [event.sequence_number for event in rest] == list(range(5, len(events)))


async def test_a_response_in_the_background_is_cancelled_or_fails() -> None:
    async with served([Reply(text="never", silent=True)]) as (endpoint, sdk):
        answer = await sdk.responses.create(model="m", input="Go", background=True)
        assert (await sdk.responses.cancel(answer.id)).status == "cancelled"
        endpoint.replace([Reply(status=500)])
        answer = await sdk.responses.create(model="m", input="Go", background=True)
        async for _ in await sdk.responses.retrieve(answer.id, stream=True):
            pass
        failed = await sdk.responses.retrieve(answer.id)
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error.code == "server_error"
        endpoint.replace(["quick"])
        answer = await sdk.responses.create(model="m", input="Go")
        with pytest.raises(BadRequestError, match="background=true"):
            await sdk.responses.cancel(answer.id)


async def test_an_agent_waits_for_a_response_in_the_background() -> None:
    async with served([Reply(text="slow but sure", hold="work")]) as (endpoint, sdk):
        model = OpenAIResponsesModel("m", provider=OpenAIProvider(openai_client=sdk))
        settings = OpenAIResponsesModelSettings(openai_background=True)
        running = asyncio.create_task(Agent(model, model_settings=settings).run("Go"))
        await asyncio.to_thread(endpoint.wait_for, 1, outcome="answered")
        endpoint.release("work")
        assert (await running).output == "slow but sure"
        assert endpoint.count() == 1


async def test_items_may_be_named_instead_of_sent() -> None:
    async with served([Reply(tools=[ToolCall("weather")]), "rain"]) as (_, sdk):
        call: Any = (await sdk.responses.create(model="m", input="Go")).output[0]
        items: list[Any] = [
            {"role": "user", "content": "Go"},
            {"type": "item_reference", "id": call.id},
            {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
        ]
        assert (await sdk.responses.create(model="m", input=items)).output_text == "rain"
        with pytest.raises(NotFoundError, match="Item with id 'fc_0' not found"):
            await sdk.responses.create(model="m", input=[{"type": "item_reference", "id": "fc_0"}])
