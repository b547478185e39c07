"""A broken history is refused as the provider would refuse it."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import BadRequestError as AnthropicRefusal
from openai import BadRequestError as OpenAIRefusal

from tenuto.testing import Endpoint, Reply, ToolCall
from tests.integration.testing.clients import anthropic_sdk, openai_sdk

USER: dict[str, Any] = {"role": "user", "content": "How is the weather?"}
CHAT_CALL: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [
        {"id": name, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for name in ("c1", "c2")
    ],
}


def _chat_result(id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "rain"}


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "empty array"),
        ([USER, CHAT_CALL], "did not have response messages: c1, c2"),
        ([USER, CHAT_CALL, _chat_result("c2")], "did not have response messages: c1"),
        ([USER, CHAT_CALL, _chat_result("c1"), USER], "did not have response messages: c2"),
        ([USER, _chat_result("c1")], "must be a response to a preceeding message with 'tool_calls'"),
        ([USER, CHAT_CALL, *map(_chat_result, ("c1", "c2", "c2"))], "must be a response to a preceeding message"),
        ([USER, CHAT_CALL, *map(_chat_result, ("c1", "c3"))], "must be a response to a preceeding message"),
        ([{"role": "robot", "content": "hm"}], "Invalid value: 'robot'"),
        ([{"role": "user", "content": None}], "expected a string, got null"),
        ([{"role": "assistant"}], "expected a string, got null"),
        ([{"content": "hm"}], "Missing required parameter: 'messages.[0].role'"),
        ([USER, {"role": "tool", "content": "rain"}], "Missing required parameter: 'messages.[1].tool_call_id'"),
    ],
)
async def test_chat_completions_refuse(messages: list[Any], message: str) -> None:
    async with Endpoint(["never"]) as endpoint, openai_sdk(endpoint) as sdk:
        with pytest.raises(OpenAIRefusal) as refused:
            await sdk.chat.completions.create(model="m", messages=messages)
        assert message in refused.value.message
        assert refused.value.type == "invalid_request_error"
        (call,) = endpoint.calls
        assert (call.outcome, call.status) == ("refused", 400)
        assert message in call.error


def _call(id: str) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": "weather", "arguments": "{}"}


def _output(id: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": "rain"}


THOUGHT: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([USER, _call("c1")], "No tool output found for function call c1."),
        ([USER, _call("c1"), _call("c2"), _output("c1"), USER], "No tool output found for function call c2."),
        ([USER, _output("c1")], "No tool call found for function call output with call_id c1."),
        ([USER, _call("c1"), _output("c1"), _output("c1")], "No tool call found for function call output"),
        ([USER, _call("c1"), _call("c1"), _output("c1")], "Duplicate item found with id fc_c1."),
        ([USER, THOUGHT, USER], "'rs_1' of type 'reasoning' was provided without its required following item"),
        ([{"role": "robot", "content": "hm"}], "Invalid value: 'robot'"),
    ],
)
async def test_responses_refuse(items: list[Any], message: str) -> None:
    async with Endpoint(["never"]) as endpoint, openai_sdk(endpoint) as sdk:
        with pytest.raises(OpenAIRefusal) as refused:
            await sdk.responses.create(model="m", input=items)
        assert message in refused.value.message


async def test_responses_refuse_a_call_that_lost_the_thought_before_it() -> None:
    async with Endpoint([Reply(thinking="Hm.", tools=[ToolCall("weather")])]) as endpoint, openai_sdk(endpoint) as sdk:
        answer = await sdk.responses.create(model="m", input="How is the weather?")
        thought, call = answer.output
        assert (thought.type, call.type) == ("reasoning", "function_call")
        items: list[Any] = [USER, call.to_dict(), _output(str(call.to_dict()["call_id"]))]
        with pytest.raises(OpenAIRefusal, match=f"without its required 'reasoning' item: '{thought.id}'"):
            await sdk.responses.create(model="m", input=items)


def _block(kind: str, id: str) -> dict[str, Any]:
    if kind == "use":
        return {"type": "tool_use", "id": id, "name": "weather", "input": {}}
    return {"type": "tool_result", "tool_use_id": id, "content": "rain"}


def _said(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


TEXT: dict[str, Any] = {"type": "text", "text": "And?"}
USES = _said("assistant", _block("use", "t1"), _block("use", "t2"))


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "at least one message is required"),
        ([_said("assistant", TEXT)], 'first message must use the "user" role'),
        ([{"role": "robot", "content": "hm"}], "messages.0.role"),
        ([USER, USES], "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1, t2"),
        ([USER, USES, _said("user", _block("result", "t1"))], "immediately after: t2"),
        ([USER, USES, USER], "immediately after: t1, t2"),
        ([USER, USES, _said("assistant", TEXT), USER], "immediately after: t1, t2"),
        (
            [USER, USES, _said("user", TEXT, _block("result", "t1"), _block("result", "t2"))],
            "tool_result blocks must come before any other content",
        ),
        (
            [USER, _said("user", _block("result", "t1"))],
            "messages.1.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1",
        ),
        (
            [USER, USES, _said("user", *(_block("result", name) for name in ("t1", "t2", "t2")))],
            "messages.2.content.2: unexpected `tool_use_id`",
        ),
        ([USER, _said("assistant", _block("use", "t1"), _block("use", "t1"))], "`tool_use` ids must be unique"),
        ([_said("user", {"type": "text", "text": ""})], "text content blocks must be non-empty"),
        ([_said("user"), USER], "all messages must have non-empty content"),
        ([_said("user", _block("use", "t1"))], "`tool_use` blocks may not be in `user` messages"),
        ([_said("user", {"type": "tool_result"})], "tool_result.tool_use_id: Field required"),
    ],
)
async def test_messages_refuse(messages: list[Any], message: str) -> None:
    async with Endpoint(["never"]) as endpoint, anthropic_sdk(endpoint) as sdk:
        with pytest.raises(AnthropicRefusal) as refused:
            await sdk.messages.create(model="m", max_tokens=10, messages=messages)
        assert isinstance(refused.value.body, dict)
        assert refused.value.body["error"]["type"] == "invalid_request_error"
        assert message in refused.value.body["error"]["message"]


async def test_messages_of_one_role_in_a_row_are_taken_as_one() -> None:
    messages: list[Any] = [
        USER,
        _said("assistant", _block("use", "t1")),
        _said("assistant", _block("use", "t2")),
        _said("user", _block("result", "t1")),
        _said("user", _block("result", "t2"), TEXT),
        USER,
    ]
    async with Endpoint(["one", "two", "three"]) as endpoint, anthropic_sdk(endpoint) as sdk:
        answer = await sdk.messages.create(model="m", max_tokens=10, messages=messages)
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "three"


@pytest.mark.parametrize("missing", ["model", "max_tokens", "messages"])
async def test_a_required_field_of_messages_is_missed(missing: str) -> None:
    body = {"model": "m", "max_tokens": 10, "messages": [USER]}
    del body[missing]
    async with Endpoint(["never"]) as endpoint, anthropic_sdk(endpoint) as sdk:
        with pytest.raises(AnthropicRefusal, match=f"{missing}: Field required"):
            await sdk.post("/v1/messages", cast_to=object, body=body)
