"""OpenAI's Chat Completions (platform.openai.com/docs/api-reference/chat), which most other providers speak too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tenuto.testing.answer import Answer, pieces
from tenuto.testing.conversation import Message, Request, ToolCall, ToolResult
from tenuto.testing.openai_errors import openai_error
from tenuto.testing.wire import Refused, WireFormat, field, sse, text_of

__all__ = ["OPENAI_CHAT"]

_STOPS = {"stop": "stop", "tools": "tool_calls", "length": "length", "filter": "content_filter", "pause": "stop"}
_INSTRUCTIONS = ("system", "developer")


def _read(body: dict[str, Any]) -> Request:
    model, given = field(body, "model", str), field(body, "messages", list)
    if not given:
        raise Refused("Invalid 'messages': empty array. Expected an array with minimum length 1.", param="messages")
    messages = [_message(one, f"messages.[{place}]") for place, one in enumerate(given)]
    _check_tools(messages)
    tools = [tool["function"] for tool in body.get("tools") or () if "function" in tool]
    form = body.get("response_format") or {}
    return Request(
        format="openai-chat",
        model=model,
        system="\n".join(one.text for one in messages if one.role in _INSTRUCTIONS),
        messages=tuple(one for one in messages if one.role not in _INSTRUCTIONS),
        tools=tuple(tool["name"] for tool in tools),
        schemas={tool["name"]: tool.get("parameters") for tool in tools},
        stream=bool(body.get("stream")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        wants_json=form.get("type") in ("json_schema", "json_object"),
        output_schema=(form.get("json_schema") or {}).get("schema"),
        body=body,
    )


def _message(one: Any, where: str) -> Message:
    if not isinstance(one, dict):
        raise Refused(f"Invalid type for '{where}': expected an object.", param=where)
    role, content = field(one, "role", str, where), one.get("content")
    if role not in ("system", "developer", "user", "assistant", "tool"):
        raise Refused(
            f"Invalid value: '{role}'. Supported values are: 'system', 'developer', ...", param=f"{where}.role"
        )
    calls = tuple(_call(call, where) for call in one.get("tool_calls") or ())
    if content is None and not (role == "assistant" and (calls or one.get("refusal"))):
        raise Refused(f"Invalid value for 'content': expected a string, got null. ({where})", param=f"{where}.content")
    if role == "tool":
        return Message("tool", results=(ToolResult(field(one, "tool_call_id", str, where), text_of(content)),))
    return Message(role, text_of(content), calls)


def _call(call: dict[str, Any], where: str) -> ToolCall:
    function = field(call, "function", dict, f"{where}.tool_calls")
    arguments = field(function, "arguments", str, f"{where}.tool_calls.function")
    return ToolCall(field(function, "name", str, where), arguments, field(call, "id", str, f"{where}.tool_calls"))


def _check_tools(messages: list[Message]) -> None:
    """Each call is answered, once, by the messages right after it; and nothing else is."""
    open_calls: list[str] = []
    for place, one in enumerate(messages):
        if one.role == "tool":
            (result,) = one.results
            if result.id not in open_calls:
                raise Refused(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    f"'tool_calls'. (tool_call_id {result.id})",
                    param=f"messages.[{place}].role",
                )
            open_calls.remove(result.id)
        elif open_calls:
            raise _unanswered(open_calls, f"messages.[{place}].role")
        else:
            open_calls = [call.id for call in one.calls]
    if open_calls:
        raise _unanswered(open_calls, "messages")


def _unanswered(calls: list[str], param: str) -> Refused:
    return Refused(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(calls)}",
        param=param,
    )


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.usage
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning, "audio_tokens": 0},
    }


def _whole(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    if answer.thinking:
        message["reasoning_content"] = answer.thinking
    if answer.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.json}}
            for call in answer.calls
        ]
    elif not answer.text:
        message["content"] = ""
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _STOPS[answer.stop]}
    return _head(answer, "chat.completion") | {"choices": [choice], "usage": _usage(answer)}


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.number}",
        "object": kind,
        "created": answer.created,
        "model": answer.request.model,
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }


def _events(answer: Answer) -> Iterator[bytes]:
    counted = bool((answer.request.body.get("stream_options") or {}).get("include_usage"))

    def chunk(delta: dict[str, Any] | None, finish: str | None = None, usage: dict[str, Any] | None = None) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        more = {"usage": usage} if counted else {}
        return sse(_head(answer, "chat.completion.chunk") | {"choices": choices} | more)

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces(answer.thinking):
        yield chunk({"reasoning_content": piece})
    for piece in pieces(answer.text):
        yield chunk({"content": piece})
    for place, call in enumerate(answer.calls):
        function = {"name": call.name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": place, "id": call.id, "type": "function", "function": function}]})
        for piece in pieces(call.json):
            yield chunk({"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
    yield chunk({}, _STOPS[answer.stop])
    if counted:
        yield chunk(None, usage=_usage(answer))
    yield b"data: [DONE]\n\n"


def _error_event(refused: Refused) -> bytes:
    return b"data: " + msgspec.json.encode(openai_error(refused)) + b"\n\n"


OPENAI_CHAT = WireFormat("openai-chat", _read, _whole, _events, openai_error, _error_event)
"""Served at `POST /v1/chat/completions`."""
