"""The messages of Pydantic AI as a script sees a request, and the check that a provider would make of them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_ai.messages import (
    BaseToolCallPart,
    BaseToolReturnPart,
    CompactionPart,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo

from tenuto.testing.conversation import Message, Request, ToolCall, ToolResult
from tenuto.testing.wire import Refused

__all__ = ["request_from"]


def request_from(messages: Sequence[ModelMessage], info: AgentInfo, model: str, *, stream: bool) -> Request:
    """What is asked of the model. Raises `Refused` for a history with calls and results that do not match."""
    system = [info.instructions or ""]
    spoken: list[Message] = []
    compacted = 0
    for one in messages:
        if isinstance(one, ModelResponse):
            if (summary := next((part for part in one.parts if isinstance(part, CompactionPart)), None)) is not None:
                compacted += sum(before.role == "assistant" for before in spoken)
                spoken = [Message("user", summary.content or "")]
            spoken.append(_answered(one))
        else:
            system += [part.content for part in one.parts if isinstance(part, SystemPromptPart)]
            spoken.append(_asked(one))
    _check(spoken)
    settings, parameters = info.model_settings or {}, info.model_request_parameters
    tools = (*info.function_tools, *info.output_tools)
    return Request(
        format="scripted",
        model=model,
        system="\n".join(system).strip(),
        messages=tuple(spoken),
        tools=tuple(tool.name for tool in tools),
        schemas={tool.name: tool.parameters_json_schema for tool in tools},
        stream=stream,
        max_tokens=settings.get("max_tokens"),
        wants_json=parameters.output_mode == "native",
        output_schema=None if parameters.output_object is None else parameters.output_object.json_schema,
        compacted=compacted,
    )


def _answered(response: ModelResponse) -> Message:
    calls = [
        ToolCall(part.tool_name, part.args_as_json_str(), part.tool_call_id)
        for part in response.parts
        if isinstance(part, BaseToolCallPart)
    ]
    text = "\n".join(part.content for part in response.parts if isinstance(part, TextPart))
    return Message("assistant", text, tuple(calls))


def _asked(request: ModelRequest) -> Message:
    results = [
        ToolResult(part.tool_call_id, part.model_response_str(), part.outcome != "success")
        for part in request.parts
        if isinstance(part, BaseToolReturnPart)
    ]
    text = "\n".join(said for part in request.parts if (said := _said(part)))
    return Message("user" if text or not results else "tool", text, results=tuple(results))


def _said(part: ModelRequestPart) -> str:
    if not isinstance(part, UserPromptPart):
        return ""
    content = [part.content] if isinstance(part.content, str) else part.content
    return "\n".join(piece for piece in content if isinstance(piece, str))


def _check(messages: list[Message]) -> None:
    open_calls: list[str] = []
    for one in messages:
        for result in one.results:
            if result.id not in open_calls:
                raise Refused(f"the result of tool call {result.id} has no call before it")
            open_calls.remove(result.id)
        if open_calls and one.role == "assistant":
            raise Refused(f"tool calls have no results: {', '.join(open_calls)}")
        open_calls += [call.id for call in one.calls]
    if open_calls:
        raise Refused(f"tool calls have no results: {', '.join(open_calls)}")
