"""A scripted model says what an endpoint would, without HTTP."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterable

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, RunContext, direct, exceptions
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolCallPart, UserPromptPart
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

from tenuto.errors import InvalidInput
from tenuto.testing import Reply, Request, Rule, ScriptedModel, ScriptError, ToolCall, Usage


class Weather(BaseModel):
    city: str
    rain: bool


async def _drain(context: RunContext[object], events: AsyncIterable[object]) -> None:
    """A handler of events, which is what makes `run` ask for streams."""
    async for _ in events:
        pass


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_agent_runs_through_its_turns(streamed: bool) -> None:
    # Given
    calls = [ToolCall("weather", {"city": city}) for city in ("Oslo", "Bergen")]
    usage = Usage(100, 20, cached=30)
    model = ScriptedModel([Reply(text="Let me see.", tools=calls, usage=usage), Reply(text="Rain.", thinking="Hm.")])
    agent = Agent(model, instructions="Be short.")

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"rain over {city}"

    # When
    result = await agent.run("How is it?", event_stream_handler=_drain if streamed else None)
    # Then
    assert result.output == "Rain."
    first, second = model.calls
    assert (first.turn, first.stream, first.tools, first.outcome) == (1, streamed, ("weather",), "answered")
    assert "Be short." in first.text
    assert "rain over Bergen" in second.text
    responses = [one for one in result.all_messages() if isinstance(one, ModelResponse)]
    assert responses[0].usage.input_tokens == 100
    assert responses[0].usage.cache_read_tokens == 30
    assert [one.finish_reason for one in responses] == ["tool_call", "stop"]


async def test_a_stream_comes_in_parts() -> None:
    text = "One sentence after the other. " * 5
    async with Agent(ScriptedModel([text])).run_stream("Go") as stream:
        parts = [part async for part in stream.stream_text(delta=True, debounce_by=None)]
    assert "".join(parts) == text
    assert len(parts) > 5


@pytest.mark.parametrize("kind", [Weather, NativeOutput(Weather)])
async def test_an_output_type_is_filled(kind: type[Weather]) -> None:
    model = ScriptedModel([Reply(output={"city": "Oslo", "rain": True})])
    assert (await Agent(model, output_type=kind).run("Oslo?")).output == Weather(city="Oslo", rain=True)


@pytest.mark.parametrize("kind", [list[int], NativeOutput(list[int]), PromptedOutput(list[int])])
async def test_a_value_that_is_no_object_is_given_as_it_is(kind: type[list[int]]) -> None:
    model = ScriptedModel([Reply(output=[1, 2])])
    assert (await Agent(model, output_type=kind).run("Which?")).output == [1, 2]
    assert model.count() == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(status=400), exceptions.ModelContextWindowExceededError),
        (Reply(status=400, error="no"), exceptions.ModelRequestRejectedError),
        (Reply(status=401), exceptions.ModelAuthenticationError),
        (Reply(status=404), exceptions.ModelNotFoundError),
        (Reply(status=429), exceptions.ModelRateLimitError),
        (Reply(status=429, code="insufficient_quota"), exceptions.ModelQuotaExceededError),
        (Reply(status=500), exceptions.ModelServerError),
        (Reply(status=529), exceptions.ModelOverloadedError),
        (Reply(text="x", error_after_events=1), exceptions.ModelServerError),
        (Reply(text="x", cut_after_events=1), exceptions.ModelConnectionError),
        (Reply(text="x", malformed=True), exceptions.ModelAPIError),
        (Reply(body="<html>"), exceptions.ModelAPIError),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_troubles_are_the_errors_that_a_provider_gives(
    reply: Reply, error: type[Exception], streamed: bool
) -> None:
    model = ScriptedModel([reply])
    with pytest.raises(error):
        await Agent(model).run("Go", event_stream_handler=_drain if streamed else None)
    assert model.count(outcome="refused") == 1


async def test_a_rate_limit_says_when_to_come_again() -> None:
    model = ScriptedModel([[Reply(status=429, retry_after=7), "now"]])
    with pytest.raises(exceptions.ModelRateLimitError) as refused:
        await Agent(model).run("Go")
    assert refused.value.retry_after == 7
    assert (await Agent(model).run("Go")).output == "now"


async def test_an_answer_is_held_until_it_is_let_go_and_a_silent_one_until_it_is_cancelled() -> None:
    model = ScriptedModel(
        [Rule(first="hold", turns=[Reply(text="now", hold="gate")]), Rule(turns=[Reply(silent=True)])]
    )
    held, silent = (asyncio.create_task(Agent(model).run(word)) for word in ("hold", "still"))
    await asyncio.to_thread(model.wait_for, 2, turn=1)
    await asyncio.to_thread(model.release, "gate")
    assert (await held).output == "now"
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent
    assert model.count("still", outcome="gone") == 1


async def test_a_script_without_an_answer_says_so() -> None:
    model = ScriptedModel(["one"])
    first = await Agent(model).run("Go")
    with pytest.raises(ScriptError, match="the script has 1 turns, and turn 2 was asked for"):
        await Agent(model).run("On", message_history=first.all_messages())
    model.replace(lambda request: f"turn {request.turn} of {request.first}")
    assert (await Agent(model).run("On", message_history=first.all_messages())).output == "turn 2 of Go"
    with pytest.raises(InvalidInput, match="a script is a list"):
        ScriptedModel("text")


async def test_a_broken_history_is_refused() -> None:
    # Given a call without its result, given to the model past the agent, which would have mended it
    model = ScriptedModel(["never"])
    broken: list[ModelMessage] = [
        ModelRequest([UserPromptPart("Go")]),
        ModelResponse([ToolCallPart("weather", {}, tool_call_id="c1")]),
        ModelRequest([UserPromptPart("On")]),
    ]
    # When
    with pytest.raises(exceptions.ModelRequestRejectedError, match="tool calls have no results: c1"):
        await direct.model_request(model, broken)


async def test_it_counts_tokens_and_prices_as_the_model_whose_name_it_bears() -> None:
    reply = Reply(text="yes", usage=Usage(1_000_000, 0))
    model = ScriptedModel([reply], name="gpt-4o-mini", provider="openai")
    result = await Agent(model).run("Go", model_settings=ModelSettings(max_tokens=9))
    response = result.all_messages()[-1]
    assert isinstance(response, ModelResponse)
    assert 0.1 < response.cost().total_price < 1
    assert model.calls[0].max_tokens == 9
    limits = UsageLimits(input_tokens_limit=10, count_tokens_before_request=True)
    with pytest.raises(exceptions.UsageLimitExceeded):
        await Agent(model).run("x" * 400, usage_limits=limits)


async def test_a_copy_for_another_process_has_the_script_and_its_own_calls() -> None:
    model = ScriptedModel(["yes"], name="named")
    await Agent(model).run("Go")
    copy = pickle.loads(pickle.dumps(model))
    assert copy.model_name == "named"
    assert copy.count() == 0
    assert (await Agent(copy).run("Go")).output == "yes"


async def test_a_function_sees_what_an_endpoint_would_show_it() -> None:
    # Given
    seen: list[Request] = []

    def script(request: Request) -> Reply:
        seen.append(request)
        return Reply(tools=[ToolCall("price", {"of": "bread"})]) if request.turn == 1 else Reply(text=request.last)

    agent = Agent(ScriptedModel(script))

    @agent.tool_plain
    def price(of: str) -> int:
        return 3

    # When
    result = await agent.run("How much?")
    # Then
    assert result.output == "3"
    assert [message.role for message in seen[1].messages] == ["user", "assistant", "tool"]
    assert seen[1].messages[1].calls[0].json == '{"of":"bread"}'
