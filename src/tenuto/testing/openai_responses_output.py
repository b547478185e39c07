"""What OpenAI's Responses sends: the response object, and the events of a streamed one.

platform.openai.com/docs/api-reference/responses and .../responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenuto.testing.answer import Answer, pieces
from tenuto.testing.compaction import sealed
from tenuto.testing.openai_errors import openai_error
from tenuto.testing.wire import Refused, sse

__all__ = ["compaction_object", "error_event", "response_events", "response_object", "whole_response"]

_INCOMPLETE = {"length": "max_output_tokens", "filter": "content_filter"}
_ECHOED = ("instructions", "previous_response_id", "reasoning", "temperature", "tool_choice", "tools", "top_p", "text")


def whole_response(answer: Answer) -> dict[str, Any]:
    """The response when it is finished."""
    reason = _INCOMPLETE.get(answer.stop)
    ends = {"incomplete_details": {"reason": reason}} if reason else {}
    status = "incomplete" if reason else "completed"
    return response_object(answer, status) | {"output": _output(answer), "usage": _usage(answer)} | ends


def compaction_object(answer: Answer) -> dict[str, Any]:
    """The summary of a conversation, where that is all that was asked for."""
    named = {"id": f"resp_{answer.number}", "object": "response.compaction", "created_at": answer.created}
    return named | {"output": [_compaction(answer)], "usage": _usage(answer)}


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.usage
    return {
        "input_tokens": used.input,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.cache_write},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.input + used.output,
    }


def response_object(answer: Answer, status: str) -> dict[str, Any]:
    """The response at another point of its life: without output."""
    asked = answer.request.body
    return {
        "id": f"resp_{answer.number}",
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "background": bool(asked.get("background")),
        "error": None,
        "incomplete_details": None,
        "max_output_tokens": answer.request.max_tokens,
        "metadata": asked.get("metadata") or {},
        "model": answer.request.model,
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "store": asked.get("store", True),
        "truncation": asked.get("truncation") or "disabled",
        "usage": None,
        "user": asked.get("user"),
        **{name: asked.get(name) for name in _ECHOED},
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": asked.get("tools") or [],
        "text": asked.get("text") or {"format": {"type": "text"}},
    }


def _output(answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [_compaction(answer)] if answer.compaction else []
    if answer.thinking:
        summary = [{"type": "summary_text", "text": answer.thinking}]
        more = {"encrypted_content": f"sealed-{answer.number}"} if "include" in answer.request.body else {}
        items.append({"id": f"rs_{answer.number}", "type": "reasoning", "summary": summary, **more})
    if answer.text or not answer.calls:
        items.append(_message(answer, "completed", [_text(answer.text)]))
    items += [
        {
            "id": f"fc_{answer.number}_{place}",
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.json,
        }
        for place, call in enumerate(answer.calls)
    ]
    return items


def _compaction(answer: Answer) -> dict[str, Any]:
    return {"id": f"cmp_{answer.number}", "type": "compaction", "encrypted_content": sealed(answer)}


def _message(answer: Answer, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.number}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def response_events(answer: Answer) -> Iterator[bytes]:
    """All events of the response, numbered from 0."""
    for number, (kind, fields) in enumerate(_numbered(answer)):
        yield sse({"type": kind, "sequence_number": number, **fields}, kind)


def _numbered(answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    begun, whole = response_object(answer, "in_progress"), whole_response(answer)
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for place, item in enumerate(whole["output"]):
        for kind, fields in _item(item):
            named = {} if "item" in fields else {"item_id": item["id"]}
            yield kind, {"output_index": place, **named, **fields}
    yield f"response.{whole['status']}", {"response": whole}


def _item(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of one item of the output."""
    begun: dict[str, Any] = {
        "reasoning": {"summary": []},
        "message": {"content": [], "status": "in_progress"},
        "function_call": {"arguments": "", "status": "in_progress"},
        "compaction": {"encrypted_content": ""},
    }
    yield "response.output_item.added", {"item": {**item, **begun[item["type"]]}}
    if item["type"] == "function_call":
        kind = "response.function_call_arguments"
        yield from ((f"{kind}.delta", {"delta": piece}) for piece in pieces(item["arguments"]))
        yield f"{kind}.done", {"arguments": item["arguments"], "name": item["name"]}
    elif item["type"] == "message":
        yield from _part(item["content"][0], "content_index", "response.content_part", "response.output_text")
    elif item["type"] == "reasoning":
        kind = "response.reasoning_summary"
        yield from _part(item["summary"][0], "summary_index", f"{kind}_part", f"{kind}_text")
    yield "response.output_item.done", {"item": item}


def _part(part: dict[str, Any], index: str, around: str, inside: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a part that holds text, of which each item here has one."""
    where = {index: 0}
    logprobs: dict[str, Any] = {"logprobs": []} if "logprobs" in part else {}
    yield f"{around}.added", {**where, "part": {**part, "text": ""}}
    yield from ((f"{inside}.delta", {**where, "delta": piece, **logprobs}) for piece in pieces(part["text"]))
    yield f"{inside}.done", {**where, "text": part["text"], **logprobs}
    yield f"{around}.done", {**where, "part": part}


def error_event(refused: Refused) -> bytes:
    """The event that ends a stream which failed."""
    body = openai_error(refused)["error"]
    return sse({"type": "error", "sequence_number": 0, **body, "error": body} | {"type": "error"}, "error")
