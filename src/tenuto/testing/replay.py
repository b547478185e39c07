"""A finished answer as the events of a stream: texts come in pieces, other parts whole."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_ai.messages import (
    FinalResultEvent,
    ModelResponse,
    ModelResponsePart,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
)
from pydantic_ai.models import ModelRequestParameters

from tenuto.testing.answer import pieces

__all__ = ["events_of"]


def events_of(response: ModelResponse, asked: ModelRequestParameters) -> Iterator[ModelResponseStreamEvent]:
    """The events of `response`, with the one that says from which part on the agent's output is known."""
    known = False
    for index, part in enumerate(response.parts):
        yield PartStartEvent(index=index, part=TextPart("") if isinstance(part, TextPart) else part)
        final = None if known else _final(part, asked)
        if final is not None:
            known = True
            yield final
        if isinstance(part, TextPart):
            for piece in pieces(part.content):
                yield PartDeltaEvent(index=index, delta=TextPartDelta(piece))
        yield PartEndEvent(index=index, part=part)


def _final(part: ModelResponsePart, asked: ModelRequestParameters) -> FinalResultEvent | None:
    """What the streams of Pydantic AI say of a part: text where that is allowed, an output tool, a deferred one."""
    if isinstance(part, TextPart):
        return FinalResultEvent(tool_name=None, tool_call_id=None) if asked.allow_text_output else None
    tool = asked.tool_defs.get(part.tool_name) if isinstance(part, ToolCallPart) else None
    if tool is None or not isinstance(part, ToolCallPart):
        return None
    if tool.kind == "output":
        return FinalResultEvent(tool_name=part.tool_name, tool_call_id=part.tool_call_id)
    return FinalResultEvent(tool_name=None, tool_call_id=None) if tool.defer else None
