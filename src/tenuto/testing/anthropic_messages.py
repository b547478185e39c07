"""Anthropic's Messages (docs.anthropic.com/en/api/messages, and .../messages-streaming for the events)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tenuto.testing.answer import Answer, estimate, pieces
from tenuto.testing.compaction import Compacted, opened, sealed
from tenuto.testing.conversation import Message, Request, ToolCall, ToolResult
from tenuto.testing.wire import Refused, WireFormat, sse, text_of

__all__ = ["ANTHROPIC_MESSAGES"]

_STOPS = {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens", "filter": "refusal", "pause": "pause_turn"}
_ERRORS = {
    400: ("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: unknown"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


def _read(body: dict[str, Any]) -> Request:
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise Refused(f"{name}: Field required")
    given, limit = body["messages"], body["max_tokens"]
    if not isinstance(limit, int) or limit < 1:
        raise Refused("max_tokens: must be greater than or equal to 1")
    if not isinstance(given, list) or not given:
        raise Refused("messages: at least one message is required")
    compacted, given = _since_compaction(given)
    read = [_message(one, place, last=place == len(given) - 1) for place, one in enumerate(given)]
    read[:0] = [compacted.message] if compacted else []
    _check_tools(read)
    spoken = [one for one in read if one.role != "system"]
    if spoken and spoken[0].role != "user":
        raise Refused('messages: first message must use the "user" role')
    tools = [tool for tool in body.get("tools") or () if "name" in tool]
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return Request(
        format="anthropic",
        model=body["model"],
        system="\n".join([text_of(body.get("system")), *(one.text for one in read if one.role == "system")]).strip(),
        messages=tuple(spoken),
        tools=tuple(tool["name"] for tool in tools),
        schemas={tool["name"]: tool.get("input_schema") for tool in tools},
        stream=bool(body.get("stream")),
        max_tokens=limit,
        wants_json=bool(form),
        output_schema=form.get("schema"),
        body=body,
        compacted=compacted.answers if compacted else 0,
    )


def _since_compaction(messages: list[Any]) -> tuple[Compacted | None, list[Any]]:
    """The last summary among `messages`, and what comes after it."""
    for place in reversed(range(len(messages))):
        content = messages[place].get("content") if isinstance(messages[place], dict) else None
        blocks = content if isinstance(content, list) else []
        for number in reversed(range(len(blocks))):
            if isinstance(blocks[number], dict) and blocks[number].get("type") == "compaction":
                rest = {**messages[place], "content": blocks[number + 1 :]}
                after = messages[place + 1 :]
                return opened(blocks[number].get("encrypted_content")), [rest, *after] if rest["content"] else after
    return None, messages


def _message(one: Any, place: int, *, last: bool) -> Message:
    role, content = (one.get("role"), one.get("content")) if isinstance(one, dict) else (None, None)
    if role not in ("user", "assistant", "system"):
        raise Refused(f"messages.{place}.role: Input should be 'user' or 'assistant'")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise Refused(f"messages.{place}.content: Field required")
    if not content and not (last and role == "assistant"):
        raise Refused(
            f"messages.{place}: all messages must have non-empty content except for the optional final assistant "
            "message"
        )
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    for number, block in enumerate(content):
        _check_block(block, role, f"messages.{place}.content.{number}")
        if block["type"] == "tool_use":
            calls.append(ToolCall(block["name"], msgspec.json.encode(block["input"]).decode(), block["id"]))
        elif block["type"] == "tool_result":
            if len(results) < number:
                raise Refused(f"messages.{place}: tool_result blocks must come before any other content")
            said = text_of(block.get("content"))
            results.append(ToolResult(block["tool_use_id"], said, bool(block.get("is_error"))))
    return Message(role, text_of(content), tuple(calls), tuple(results))


def _check_block(block: Any, role: str, where: str) -> None:
    needed = {"text": ("text",), "tool_use": ("id", "name", "input"), "tool_result": ("tool_use_id",)}
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise Refused(f"{where}.type: Field required")
    for name in needed.get(kind, ()):
        if name not in block:
            raise Refused(f"{where}.{kind}.{name}: Field required")
    if kind == "text" and not block["text"]:
        raise Refused(f"{where}: text content blocks must be non-empty")
    if kind == "tool_use" and not isinstance(block["input"], dict):
        raise Refused(f"{where}.tool_use.input: Input should be a valid dictionary")
    if (kind, role) in (("tool_use", "user"), ("tool_result", "assistant")):
        raise Refused(f"{where}: `{kind}` blocks may not be in `{role}` messages")


def _check_tools(messages: list[Message]) -> None:
    """Each call is answered, once, by the very next message; and nothing else is. Neighbours of one role are one."""
    seen: set[str] = set()
    open_calls: list[str] = []
    before = ""
    for place, one in enumerate(messages):
        if open_calls and before != one.role == "assistant":
            raise _unanswered(place - 1, open_calls)
        for number, result in enumerate(one.results):
            if result.id not in open_calls:
                raise Refused(
                    f"messages.{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{result.id}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                    "previous message."
                )
            open_calls.remove(result.id)
        if open_calls and one.role == "user" and one.text:
            raise _unanswered(place - 1, open_calls)
        for call in one.calls:
            if call.id in seen:
                raise Refused(f"messages.{place}: `tool_use` ids must be unique")
            seen.add(call.id)
            open_calls.append(call.id)
        before = one.role
    if open_calls:
        raise _unanswered(len(messages) - 1, open_calls)


def _unanswered(place: int, calls: list[str]) -> Refused:
    return Refused(
        f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.usage
    counted = {
        "input_tokens": used.input - used.cached - used.cache_write,
        "cache_read_input_tokens": used.cached,
        "cache_creation_input_tokens": used.cache_write,
        "output_tokens": used.output,
    }
    more = {"iterations": [_compacting(answer), {"type": "message", **counted}]} if answer.compaction else {}
    return counted | {"service_tier": "standard"} | more


def _compacting(answer: Answer) -> dict[str, Any]:
    """What the summary has cost, which is not part of what the answer has."""
    cached = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    used = {"input_tokens": estimate(answer.request), "output_tokens": -(-len(answer.compaction.encode()) // 4)}
    return {"type": "compaction", **used, **cached}


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.compaction:
        blocks.append({"type": "compaction", "content": answer.compaction, "encrypted_content": sealed(answer)})
    if answer.thinking:
        blocks.append({"type": "thinking", "thinking": answer.thinking, "signature": f"signed-{answer.number}"})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text, "citations": None})
    blocks += [{"type": "tool_use", "id": one.id, "name": one.name, "input": _input(one)} for one in answer.calls]
    return blocks


def _input(call: ToolCall) -> Any:
    """The arguments as the object that this format has them in; text that is no JSON stays text."""
    try:
        return msgspec.json.decode(call.json)
    except msgspec.DecodeError:
        return call.json


def _head(answer: Answer) -> dict[str, Any]:
    return {"id": f"msg_{answer.number}", "type": "message", "role": "assistant", "model": answer.request.model}


def _whole(answer: Answer) -> dict[str, Any]:
    ends = {"stop_reason": _STOPS[answer.stop], "stop_sequence": None}
    return _head(answer) | {"content": _blocks(answer), "usage": _usage(answer)} | ends


def _events(answer: Answer) -> Iterator[bytes]:
    begun = _usage(answer) | {"output_tokens": 1}
    message = _head(answer) | {"content": [], "usage": begun, "stop_reason": None, "stop_sequence": None}
    yield _event("message_start", message=message)
    yield _event("ping")
    calls = iter(answer.calls)
    for index, block in enumerate(_blocks(answer)):
        call = next(calls) if block["type"] == "tool_use" else None
        yield _event("content_block_start", index=index, content_block=_begun(block))
        for delta in _deltas(block, call):
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    ends = {"stop_reason": _STOPS[answer.stop], "stop_sequence": None}
    yield _event("message_delta", delta=ends, usage={"output_tokens": answer.usage.output})
    yield _event("message_stop")


def _begun(block: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
        "compaction": {"content": None, "encrypted_content": None},
    }
    return block | empty[block["type"]]


def _deltas(block: dict[str, Any], call: ToolCall | None) -> Iterator[dict[str, Any]]:
    if call is not None:
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in pieces(call.json))
    elif block["type"] == "compaction":
        yield block | {"type": "compaction_delta"}
    elif block["type"] == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in pieces(block["text"]))
    else:
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"]))
        yield {"type": "signature_delta", "signature": block["signature"]}


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def _error(refused: Refused) -> dict[str, Any]:
    kind, message = _ERRORS.get(refused.status, ("api_error", "Internal server error"))
    return {"type": "error", "error": {"type": refused.code or kind, "message": refused.message or message}}


def _error_event(refused: Refused) -> bytes:
    return sse(_error(refused), "error")


ANTHROPIC_MESSAGES = WireFormat("anthropic", _read, _whole, _events, _error, _error_event)
"""Served at `POST /v1/messages`."""
