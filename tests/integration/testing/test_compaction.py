"""Summaries in place of what was said: on the wire, through the providers' SDKs, and without HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from openai import BadRequestError, NotFoundError
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import CompactionPart, ModelResponse
from pydantic_ai.models.anthropic import AnthropicCompaction
from pydantic_ai.models.openai import OpenAICompaction

from tenuto.testing import Endpoint, Reply, Rule, ScriptedModel, ToolCall, Usage
from tests.integration.testing.clients import model, openai_sdk

LOOKS: list[Reply | str | list[Reply | str] | Rule] = [
    Reply(tools=[ToolCall("look", {"place": "shop"})]),
    Reply(tools=[ToolCall("look", {"place": "bank"})], compaction="The shop is open."),
    Reply(tools=[ToolCall("look", {"place": "bar"})]),
    "all are open",
]


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


def capability(format: str) -> AbstractCapability[Any]:
    return AnthropicCompaction() if format == "anthropic" else OpenAICompaction()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("format", ["openai-responses", "anthropic"])
async def test_a_provider_compacts_by_itself(format: str, streamed: bool) -> None:
    # Given a provider that puts a summary in place of what was said before its second answer
    async with Endpoint(LOOKS) as endpoint, model(format, endpoint) as asked:
        agent = Agent(asked, tools=[look], capabilities=[capability(format)])
        # When an agent goes on
        if streamed:
            async with agent.run_stream("Look around.") as run:
                output = await run.get_output()
            messages = run.all_messages()
        else:
            result = await agent.run("Look around.")
            output, messages = result.output, result.all_messages()
        # Then its later requests begin with the summary, and the script goes on where it was
        assert output == "all are open"
        assert [call.turn for call in endpoint.calls] == [1, 2, 3, 4]
        assert "Look around." in endpoint.calls[1].text
        for call in endpoint.calls[2:]:
            assert "Look around." not in call.text
            assert "The shop is open." in call.text
            assert "bank is open" in call.text
    parts = [part for message in messages if isinstance(message, ModelResponse) for part in message.parts]
    (compaction,) = [part for part in parts if isinstance(part, CompactionPart)]
    assert compaction.content == ("The shop is open." if format == "anthropic" else None)


async def test_what_anthropic_charges_for_a_summary_is_counted_apart() -> None:
    turn = Reply(text="on", compaction="So far so good.", usage=Usage(input=50, output=7))
    async with Endpoint([turn]) as endpoint, model("anthropic", endpoint) as asked:
        result = await Agent(asked, capabilities=[AnthropicCompaction()]).run("x" * 400)
        usage = result.usage
    assert usage.details["compaction_input_tokens"] > 100
    assert usage.input_tokens == 50 + usage.details["compaction_input_tokens"]
    assert usage.output_tokens == 7 + usage.details["compaction_output_tokens"]


async def test_a_summary_is_asked_for_before_a_request() -> None:
    # Given an agent whose conversation is compacted when it has more than four messages
    async with Endpoint([LOOKS[0], "the shop is open", "all are open"]) as endpoint:
        async with model("openai-responses", endpoint) as asked:
            agent = Agent(asked, tools=[look], capabilities=[OpenAICompaction(message_count_threshold=4)])
            first = await agent.run("Look around.")
            # When it goes on
            second = await agent.run("And the others?", message_history=first.all_messages())
        # Then a summary was asked for before that, of all that had been said
        assert second.output == "all are open"
        paths = [call.path.rpartition("/")[2] for call in endpoint.calls]
        assert paths == ["responses", "responses", "compact", "responses"]
        assert [call.turn for call in endpoint.calls] == [1, 2, 3, 3]
        assert "[a summary of 2 turns]" in endpoint.calls[-1].text
        assert "Look around." not in endpoint.calls[-1].text
        assert endpoint.calls[2].usage is not None


async def test_what_is_no_summary_is_refused() -> None:
    async with Endpoint(["never"]) as endpoint, openai_sdk(endpoint) as sdk:
        with pytest.raises(BadRequestError, match="could not be verified"):
            await sdk.responses.create(model="m", input=[{"type": "compaction", "encrypted_content": "made up"}])


async def test_a_response_is_not_kept_for_ever() -> None:
    async with Endpoint(["one"]) as endpoint, openai_sdk(endpoint) as sdk:
        answer = await sdk.responses.create(model="m", input="Go")
        endpoint.forget()
        with pytest.raises(NotFoundError, match="not found"):
            await sdk.responses.retrieve(answer.id)


async def test_a_model_without_http_does_the_same() -> None:
    scripted = ScriptedModel(LOOKS)
    result = await Agent(scripted, tools=[look]).run("Look around.")
    assert result.output == "all are open"
    assert [call.turn for call in scripted.calls] == [1, 2, 3, 4]
    assert "Look around." not in scripted.calls[-1].text
    assert "The shop is open." in scripted.calls[-1].text
