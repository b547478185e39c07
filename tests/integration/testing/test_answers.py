"""Agents of Pydantic AI get from the endpoint what its script says, through the real SDKs, whole and streamed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable
from typing import Any, Literal

import pytest
from anthropic import Anthropic
from openai import OpenAI
from pydantic import BaseModel, TypeAdapter
from pydantic_ai import Agent, NativeOutput, RunContext, ToolOutput, capture_run_messages
from pydantic_ai.exceptions import ContentFilterError
from pydantic_ai.messages import ModelResponse, ThinkingPart
from pydantic_ai.settings import ModelSettings

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


@each_format
async def test_an_output_type_is_filled_by_the_providers_own_means(format: str) -> None:
    # Given
    async with Endpoint([Reply(output={"city": "Oslo", "rain": True})]) as endpoint, model(format, endpoint) as asked:
        # When
        result = await Agent(asked, output_type=NativeOutput(Weather)).run("Oslo?")
        # Then
        assert result.output == Weather(city="Oslo", rain=True)
        assert endpoint.calls[0].tools == ()


VALUES: list[tuple[Any, Any]] = [
    (list[str], ["Oslo", "Bergen"]),
    (list[Weather], [{"city": "Oslo", "rain": True}]),
    (int, 7),
]


@each_format
@pytest.mark.parametrize("native", [False, True], ids=["as a tool", "by its own means"])
@pytest.mark.parametrize(("kind", "value"), VALUES)
async def test_a_value_that_is_no_object_is_given_as_it_is(format: str, native: bool, kind: Any, value: Any) -> None:
    # Given
    output = NativeOutput(kind) if native else ToolOutput(kind)
    async with Endpoint([Reply(output=value)]) as endpoint, model(format, endpoint) as asked:
        # When
        result = await Agent(asked, output_type=output).run("Which?")
        # Then
        assert result.output == TypeAdapter(kind).validate_python(value)
        assert endpoint.count() == 1


@each_format
async def test_one_who_knows_how_it_is_wrapped_may_write_it_so(format: str) -> None:
    async with Endpoint([Reply(output={"response": [1, 2]})]) as endpoint, model(format, endpoint) as asked:
        assert (await Agent(asked, output_type=ToolOutput(list[int])).run("Which?")).output == [1, 2]


@each_format
async def test_an_output_that_does_not_fit_is_asked_for_again(format: str) -> None:
    # Given
    turns = [Reply(output={"city": "Oslo"}), Reply(output={"city": "Oslo", "rain": False})]
    async with Endpoint(turns) as endpoint, model(format, endpoint) as asked:
        # When
        result = await Agent(asked, output_type=Weather).run("Oslo?")
        # Then
        assert result.output == Weather(city="Oslo", rain=False)
        assert [call.turn for call in endpoint.calls] == [1, 2]


@each_format
@pytest.mark.parametrize("args", ['{"city": ', "[]"])
async def test_arguments_that_do_not_fit_come_back_as_an_error(format: str, args: str) -> None:
    # Given
    turns: Script = [Reply(tools=[ToolCall("weather", args)]), "Sorry."]
    async with Endpoint(turns) as endpoint, model(format, endpoint) as asked:
        agent = Agent(asked)

        @agent.tool_plain
        def weather(city: str) -> str:
            return city

        # When
        result = await agent.run("Oslo?", event_stream_handler=_drain)
        # Then
        assert result.output == "Sorry."
        assert "invalid" in endpoint.calls[1].text.lower()


@each_format
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("stop", "reason"), [("length", "length"), ("filter", "content_filter")])
async def test_the_reason_to_stop_is_the_providers(
    format: str, streamed: bool, stop: Literal["length", "filter"], reason: str
) -> None:
    async with Endpoint([Reply(text="half a sen", stop=stop)]) as endpoint, model(format, endpoint) as asked:
        agent = Agent(asked)
        with capture_run_messages() as messages, contextlib.suppress(ContentFilterError):
            await agent.run("Go", event_stream_handler=_drain if streamed else None)
        responses = [one for one in messages if isinstance(one, ModelResponse)]
        assert responses[-1].finish_reason == reason


@each_format
@pytest.mark.parametrize("streamed", [False, True])
async def test_thoughts_arrive_and_go_back(format: str, streamed: bool) -> None:
    # Given
    turns: Script = [Reply(thinking="Is it raining there? " * 5, text="Yes."), "Still."]
    async with Endpoint(turns) as endpoint, model(format, endpoint) as asked:
        agent = Agent(asked)
        # When
        first = await agent.run("Oslo?", event_stream_handler=_drain if streamed else None)
        # Then
        (response,) = [one for one in first.all_messages() if isinstance(one, ModelResponse)]
        assert [part.content for part in response.parts if isinstance(part, ThinkingPart)] == [
            "Is it raining there? " * 5
        ]
        assert first.output == "Yes."
        second = await agent.run("Now?", message_history=first.all_messages())
        assert second.output == "Still."
        assert endpoint.calls[1].turn == 2


def test_the_sdks_that_block_are_served_as_well() -> None:
    with Endpoint(["yes"]) as endpoint:
        with OpenAI(base_url=endpoint.openai_url, api_key="sk-test-0") as openai:
            said = openai.responses.create(model="m", input="Go").output_text
            with openai.chat.completions.stream(model="m", messages=[{"role": "user", "content": "Go"}]) as stream:
                streamed = stream.get_final_completion().choices[0].message.content
        with (
            Anthropic(base_url=endpoint.anthropic_url, api_key="sk-test-0") as anthropic,
            anthropic.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Go"}]) as events,
        ):
            last = events.get_final_text()
    assert [said, streamed, last] == ["yes", "yes", "yes"]


async def test_an_answer_may_be_paused_and_is_continued() -> None:
    # Given the way in which Anthropic interrupts long answers
    turns: Script = [Reply(text="First half,", stop="pause"), " second half."]
    async with Endpoint(turns) as endpoint, model("anthropic", endpoint) as asked:
        # When
        result = await Agent(asked).run("Go")
        # Then
        assert result.output == "First half, second half."
        assert endpoint.count() == 2


async def test_an_estimate_of_tokens_is_bounded_by_what_was_sent() -> None:
    async with Endpoint(["word " * 100]) as endpoint, model("openai-chat", endpoint) as asked:
        free = (await Agent(asked).run("x" * 400)).usage
        bound = (await Agent(asked).run("x" * 400, model_settings=ModelSettings(max_tokens=7))).usage
    assert 100 <= free.input_tokens <= 400
    assert 100 <= free.output_tokens <= 500
    assert bound.output_tokens == 7
