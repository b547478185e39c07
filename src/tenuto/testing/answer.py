"""From a script's reply to what a provider would say: parts in order, ids, the reason to stop, tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from tenuto.testing.conversation import Request, ToolCall
from tenuto.testing.script import Reply, Usage

__all__ = ["Answer", "Stop", "answer_to", "estimate", "pieces"]

Stop = Literal["stop", "tools", "length", "filter", "pause"]

_WRAPPED = "response"

PIECES = 64
"""The most events that a text or the arguments of a call are streamed in."""


@dataclass(frozen=True)
class Answer:
    """An answer in words that belong to no provider. `number` is unique among the answers of its endpoint."""

    request: Request
    number: str
    created: int
    thinking: str
    text: str
    calls: tuple[ToolCall, ...]
    stop: Stop
    usage: Usage
    compaction: str = ""


def answer_to(request: Request, reply: Reply, number: str) -> Answer:
    """The answer to `request` that `reply` stands for; `number` makes its ids unique."""
    text, calls = reply.text, list(reply.tools)
    if reply.output is not UNSET:
        tool = next((name for name in request.tools if name.startswith("final_result")), None)
        if tool is None or request.wants_json:
            text = msgspec.json.encode(_as_asked(reply.output, request.output_schema)).decode()
        else:
            calls.append(ToolCall(tool, _as_asked(reply.output, request.schemas.get(tool))))
    named = tuple(
        call if call.id else ToolCall(call.name, call.args, f"call_{number}_{request.turn}_{place}")
        for place, call in enumerate(calls)
    )
    stop: Stop = reply.stop or ("tools" if calls else "stop")
    usage = reply.usage or _estimated(request, reply.thinking, text, named)
    return Answer(request, number, int(time.time()), reply.thinking, text, named, stop, usage, reply.compaction)


def _as_asked(output: Any, schema: Any) -> Any:
    """`output` in the form that `schema` wants: Pydantic AI asks for what is no object of its own, a list or a number,
    under the single key `response`."""
    fields = schema.get("properties") if isinstance(schema, dict) else None
    if (
        not isinstance(fields, dict)
        or list(fields) != [_WRAPPED]
        or (isinstance(output, dict) and [*output] == [_WRAPPED])
    ):
        return output
    return {_WRAPPED: output}


def estimate(request: Request) -> int:
    """The tokens of `request`: one for each four bytes of all that was said, and never none."""
    return 1 + len(request.text.encode()) // 4


def pieces(text: str, at_least: int = 12) -> Iterator[str]:
    """`text` in parts of some characters each, and not more than 64 of them; nothing of an empty one."""
    size = max(at_least, -(-len(text) // PIECES))
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _estimated(request: Request, thinking: str, text: str, calls: tuple[ToolCall, ...]) -> Usage:
    thought = -(-len(thinking.encode()) // 4)
    said = sum(len(part.encode()) for part in (text, *(call.name + call.json for call in calls)))
    output = max(1, thought + -(-said // 4))
    return Usage(estimate(request), min(output, request.max_tokens or output), reasoning=thought)
