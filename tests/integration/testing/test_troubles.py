"""All that can go wrong on the way from a provider, as the real SDKs and Pydantic AI see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable

import pytest
from anthropic import APIStatusError as AnthropicStatusError
from openai import APIStatusError as OpenAIStatusError
from pydantic_ai import Agent, RunContext, exceptions
from pydantic_ai.settings import ModelSettings

from tenuto.testing import Endpoint, Reply, Usage
from tests.integration.testing.clients import FORMATS, anthropic_sdk, model, openai_sdk

each_format = pytest.mark.parametrize("format", FORMATS)
whole_and_streamed = pytest.mark.parametrize("streamed", [False, True])
TEXT = "a long answer that comes in many parts " * 10


async def _drain(context: RunContext[object], events: AsyncIterable[object]) -> None:
    """A handler of events, which is what makes `run` ask for streams."""
    async for _ in events:
        pass


@each_format
@whole_and_streamed
@pytest.mark.parametrize(
    ("status", "category"),
    [
        (400, exceptions.ModelContextWindowExceededError),
        (401, exceptions.ModelAuthenticationError),
        (404, exceptions.ModelNotFoundError),
        (429, exceptions.ModelRateLimitError),
        (500, exceptions.ModelServerError),
        (529, exceptions.ModelOverloadedError),
    ],
)
async def test_errors_have_the_category_that_the_providers_have(
    format: str, streamed: bool, status: int, category: type[Exception]
) -> None:
    async with Endpoint([Reply(status=status)]) as endpoint, model(format, endpoint) as asked:
        with pytest.raises(category) as refused:
            await Agent(asked).run("Go", event_stream_handler=_drain if streamed else None)
        assert isinstance(refused.value, exceptions.ModelHTTPError)
        assert refused.value.status_code == status
        assert (endpoint.calls[0].status, endpoint.calls[0].outcome) == (status, "refused")


@each_format
async def test_a_rate_limit_says_when_to_come_again(format: str) -> None:
    async with Endpoint([Reply(status=429, retry_after=7)]) as endpoint, model(format, endpoint) as asked:
        with pytest.raises(exceptions.ModelRateLimitError) as refused:
            await Agent(asked).run("Go")
        assert refused.value.retry_after == 7


@each_format
async def test_an_sdk_that_retries_is_served_as_often_as_it_asks(format: str) -> None:
    # Given
    late = Reply(status=429, retry_after=0.01)
    turn: list[Reply | str] = [late, Reply(status=500, headers={"retry-after-ms": "10"}), "in the end"]
    async with Endpoint([turn]) as endpoint, model(format, endpoint, retries=2) as asked:
        # When
        result = await Agent(asked).run("Go")
        # Then
        assert result.output == "in the end"
        assert [(call.retry, call.status) for call in endpoint.calls] == [(0, 429), (1, 500), (2, 200)]


async def test_errors_carry_the_providers_own_codes_and_words() -> None:
    script = [Reply(status=429, code="insufficient_quota", error="You have no money left.")]
    async with Endpoint(script) as endpoint, openai_sdk(endpoint) as openai, anthropic_sdk(endpoint) as anthropic:
        with pytest.raises(OpenAIStatusError) as of_openai:
            await openai.responses.create(model="m", input="Go")
        assert (of_openai.value.code, of_openai.value.type) == ("insufficient_quota", "insufficient_quota")
        assert "You have no money left." in of_openai.value.message
        endpoint.replace([Reply(status=529)])
        with pytest.raises(AnthropicStatusError) as of_anthropic:
            await anthropic.messages.create(model="m", max_tokens=10, messages=[{"role": "user", "content": "Go"}])
        body = of_anthropic.value.body
        assert body == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@each_format
async def test_only_known_models_are_served_where_they_are_named(format: str) -> None:
    async with (
        Endpoint(["yes"], models=["known"]) as endpoint,
        model(format, endpoint, "known") as known,
        model(format, endpoint, "unknown") as unknown,
    ):
        assert (await Agent(known).run("Go")).output == "yes"
        with pytest.raises(exceptions.ModelNotFoundError, match="unknown"):
            await Agent(unknown).run("Go")


@each_format
async def test_a_late_answer_is_late(format: str) -> None:
    async with Endpoint([Reply(text="sorry", delay=0.3)]) as endpoint, model(format, endpoint) as asked:
        begun = time.monotonic()
        assert (await Agent(asked).run("Go")).output == "sorry"
        assert time.monotonic() - begun >= 0.29


@each_format
async def test_a_slow_stream_pauses_between_its_events(format: str) -> None:
    async with Endpoint([Reply(text="slow", chunk_delay=0.05)]) as endpoint, model(format, endpoint) as asked:
        begun = time.monotonic()
        result = await Agent(asked).run("Go", event_stream_handler=_drain)
        assert result.output == "slow"
        assert time.monotonic() - begun >= 0.09


@each_format
async def test_an_answer_that_is_held_comes_when_it_is_let_go(format: str) -> None:
    async with Endpoint([Reply(text="now", hold="gate")]) as endpoint, model(format, endpoint) as asked:
        # Given a call that has arrived
        running = asyncio.create_task(Agent(asked).run("Go"))
        await asyncio.to_thread(endpoint.wait_for, 1, turn=1)
        assert not running.done()
        assert endpoint.calls[0].outcome == "pending"
        # When
        endpoint.release("gate")
        # Then
        assert (await running).output == "now"
        assert (await Agent(asked).run("Go")).output == "now"  # the gate stays open


@each_format
@whole_and_streamed
async def test_silence_ends_with_the_clients_patience_and_is_noticed(format: str, streamed: bool) -> None:
    async with Endpoint([Reply(silent=True)]) as endpoint, model(format, endpoint) as asked:
        with pytest.raises(exceptions.ModelTimeoutError):
            await Agent(asked).run(
                "Go",
                model_settings=ModelSettings(timeout=1.0),
                event_stream_handler=_drain if streamed else None,
            )
        (call,) = await asyncio.to_thread(endpoint.wait_for, 1, outcome="gone")
        assert call.status == 0


@each_format
async def test_cancelling_a_run_reaches_the_provider_at_whatever_moment(format: str) -> None:
    async with Endpoint([Reply(text=TEXT, chunk_delay=30)]) as endpoint, model(format, endpoint) as asked:
        for number in range(1, 21):
            # Given
            running = asyncio.create_task(Agent(asked).run("Go", event_stream_handler=_drain))
            await asyncio.to_thread(endpoint.wait_for, number, status=200)
            # When
            running.cancel()
            # Then
            with pytest.raises(asyncio.CancelledError):
                await running
        assert await asyncio.to_thread(endpoint.wait_for, 20, outcome="gone")


@each_format
@whole_and_streamed
@pytest.mark.parametrize("after", [0, 60])
async def test_a_connection_is_dropped_after_some_bytes(format: str, streamed: bool, after: int) -> None:
    async with Endpoint([Reply(text=TEXT, cut_after_bytes=after)]) as endpoint, model(format, endpoint) as asked:
        with pytest.raises(exceptions.ModelConnectionError):
            await Agent(asked).run("Go", event_stream_handler=_drain if streamed else None)
        (call,) = endpoint.wait_for(1, outcome="cut")
        assert call.status == (200 if after else 0)
        assert call.usage is not None


@each_format
async def test_a_stream_is_cut_off_after_some_events(format: str) -> None:
    # Given
    parts: list[str] = []
    async with Endpoint([Reply(text=TEXT, cut_after_events=12)]) as endpoint, model(format, endpoint) as asked:
        # When
        async def listen() -> None:
            async with Agent(asked).run_stream("Go") as stream:
                async for part in stream.stream_text(delta=True, debounce_by=None):
                    parts.append(part)  # noqa: PERF401  # an `extend` would lose them all at the error

        with pytest.raises(exceptions.ModelConnectionError):
            await listen()
        # Then
        said = "".join(parts)
        assert 0 < len(said) < len(TEXT)
        assert TEXT.startswith(said)
        assert endpoint.wait_for(1, outcome="cut")


@each_format
async def test_a_stream_may_fail_after_it_has_begun(format: str) -> None:
    async with Endpoint([Reply(text=TEXT, status=529, error="Overloaded", error_after_events=8)]) as endpoint:
        async with model(format, endpoint) as asked:
            with pytest.raises(exceptions.ModelAPIError, match="Overloaded") as failed:
                await Agent(asked).run("Go", event_stream_handler=_drain)
            assert failed.value.in_stream
        assert endpoint.wait_for(1, outcome="refused")[0].status == 200


@each_format
@whole_and_streamed
async def test_malformed_json_is_an_error_of_the_model(format: str, streamed: bool) -> None:
    async with Endpoint([Reply(text=TEXT, malformed=True)]) as endpoint, model(format, endpoint) as asked:
        with pytest.raises(exceptions.ModelAPIError, match="Failed to decode"):
            await Agent(asked).run("Go", event_stream_handler=_drain if streamed else None)


@each_format
async def test_a_page_of_a_gateway_in_place_of_an_answer_is_an_error_of_the_model(format: str) -> None:
    page = Reply(body="<html>Bad gateway</html>", content_type="text/html")
    async with Endpoint([page]) as endpoint, model(format, endpoint) as asked:
        with pytest.raises(exceptions.AgentRunError, match=r"(?i)expected.* JSON"):
            await Agent(asked).run("Go")


@each_format
async def test_a_provider_may_charge_more_than_was_allowed(format: str) -> None:
    async with Endpoint([Reply(text="dear", usage=Usage(10, 5_000))]) as endpoint, model(format, endpoint) as asked:
        result = await Agent(asked).run("Go", model_settings=ModelSettings(max_tokens=100))
        assert result.usage.output_tokens == 5_000
        assert endpoint.calls[0].max_tokens == 100


@each_format
async def test_an_outage_ends_on_the_same_port(format: str) -> None:
    async with Endpoint(["here"]) as endpoint, model(format, endpoint) as asked:
        endpoint.close()
        with pytest.raises(exceptions.ModelConnectionError):
            await Agent(asked).run("Go")
        endpoint.start()
        assert (await Agent(asked).run("Go")).output == "here"
