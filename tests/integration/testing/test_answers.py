"""Agents of Pydantic AI get from the endpoint what its script says, through the real SDKs, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterable

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelResponse

from tenuto.testing import Endpoint, Reply, Script, ToolCall, Usage
from tests.integration.testing.clients import FORMATS, model

each_format = pytest.mark.parametrize("format", FORMATS)


async def _drain(context: RunContext[object], events: AsyncIterable[object]) -> None:
    """A handler of events, which is what makes `run` ask for streams."""
    async for _ in events:
        pass


class Weather(BaseModel):
    city: str
    rain: bool


@each_format
async def test_text_usage_and_reason_to_stop_arrive(format: str) -> None:
    # Given
    reply = Reply(text="Rain in the morning, sun after noon.", usage=Usage(120, 30, cached=20))
    async with Endpoint([reply]) as endpoint, model(format, endpoint) as asked:
        # When
        agent = Agent(asked, instructions="Answer in one line.")
        result = await agent.run("How is the weather?")
        # Then
        assert result.output == "Rain in the morning, sun after noon."
        used = result.usage
        assert (used.input_tokens, used.output_tokens, used.cache_read_tokens) == (120, 30, 20)
        response = result.all_messages()[-1]
        assert isinstance(response, ModelResponse)
        assert (response.finish_reason, response.model_name) == ("stop", "scripted-1")
        (call,) = endpoint.calls
        assert (call.format, call.outcome, call.turn, call.usage) == (format, "answered", 1, reply.usage)
        assert "Answer in one line." in call.text


@each_format
async def test_a_stream_brings_the_same_as_a_whole_answer_in_many_parts(format: str) -> None:
    # Given
    text = "One sentence after the other comes down the line, and none is missing. " * 3
    async with (
        Endpoint([Reply(text=text, usage=Usage(120, 30, cached=20))]) as endpoint,
        model(format, endpoint) as asked,
    ):
        # When
        async with Agent(asked).run_stream("Go on") as stream:
            parts = [part async for part in stream.stream_text(delta=True, debounce_by=None)]
            used = stream.usage
        # Then
        assert "".join(parts) == text
        assert len(parts) > 5
        assert (used.input_tokens, used.output_tokens, used.cache_read_tokens) == (120, 30, 20)
        assert endpoint.calls[0].stream


@each_format
@pytest.mark.parametrize("streamed", [False, True])
async def test_parallel_tools_are_called_and_their_results_come_back(format: str, streamed: bool) -> None:
    # Given
    cities: list[str] = []
    calls = [ToolCall("weather", {"city": city}) for city in ("Oslo", "Bergen")]
    turns: Script = [Reply(text="Let me see.", tools=calls), "It rains in both."]
    async with Endpoint(turns) as endpoint, model(format, endpoint) as asked:
        agent = Agent(asked)

        @agent.tool_plain
        def weather(city: str) -> str:
            cities.append(city)
            return f"rain over {city}"

        # When
        result = await agent.run("Oslo and Bergen?", event_stream_handler=_drain if streamed else None)
        # Then
        assert result.output == "It rains in both."
        assert sorted(cities) == ["Bergen", "Oslo"]
        first, second = endpoint.calls
        assert (first.turn, second.turn, first.stream) == (1, 2, streamed)
        assert first.tools == ("weather",)
        assert "rain over Oslo" in second.text
        assert "rain over Bergen" in second.text


@each_format
async def test_an_output_type_is_filled(format: str) -> None:
    # Given
    async with Endpoint([Reply(output={"city": "Oslo", "rain": True})]) as endpoint, model(format, endpoint) as asked:
        # When
        result = await Agent(asked, output_type=Weather).run("Oslo?")
        # Then
        assert result.output == Weather(city="Oslo", rain=True)
