"""What a task for an LLM agent is about: the payload, and how it becomes the beginning of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)

from tenuto.errors import InvalidPayload

__all__ = ["AgentContext", "beginning", "read_payload", "request_parts"]

_ASKING = {"query", "messages"}
"""The fields of a payload of which the model hears by itself."""


class AgentContext(BaseModel):
    """The payload of a task for an agent: a question, what was said before, and whatever else the tools need.

    AgentContext(query="Analyze this data", messages=[{"role": "user", "content": "…"}], customer=17)

    query: what the agent is asked. messages: an earlier conversation, as `{"role": "user"|"assistant"|"system",
    "content": text}` or as Pydantic AI writes its messages. Further fields are kept as they are; tools find them in
    `ctx.deps`. A subclass gives them types: `Agent(context_type=…)`.
    """

    model_config = ConfigDict(extra="allow")

    query: str = ""
    messages: list[dict[str, Any]] = Field(default_factory=list)


def read_payload(raw: bytes, kind: type[AgentContext], where: str) -> AgentContext:
    """The payload of a task: a text is a query. Raises `InvalidPayload`, also for one that asks nothing, which a model
    would be paid for."""
    value = msgspec.json.decode(raw)
    if value is None:
        raise InvalidPayload(
            f"{where} has no payload: give a text or an AgentContext as payload (create_task takes the owner first)"
        )
    if isinstance(value, str):
        value = {"query": value}
    if not isinstance(value, dict):
        raise InvalidPayload(f"the payload of {where} must be a text or an AgentContext, not {type(value).__name__}")
    try:
        payload = kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise InvalidPayload(f"the payload of {where} does not fit {kind.__name__}: {place}: {first['msg']}") from None
    _check_asks(payload, where)
    return payload


def _check_asks(payload: AgentContext, where: str) -> None:
    """Refuses what has neither a query nor messages, unless instructions and tools find something else in it."""
    if payload.query.strip() or payload.messages:
        return
    others = payload.model_extra or {}
    for name in others:
        if meant := get_close_matches(name.lower(), _ASKING, n=1, cutoff=0.75):
            raise InvalidPayload(f"the payload of {where} asks nothing: by {name!r}, did you mean {meant[0]!r}?")
    if not others and type(payload).model_fields.keys() == _ASKING:
        raise InvalidPayload(f"the payload of {where} asks nothing: give it a query, or messages")


def beginning(messages: Sequence[Mapping[str, Any]], where: str) -> list[ModelMessage]:
    """An earlier conversation, in either form. Raises `InvalidPayload`."""
    if messages and all("kind" in each for each in messages):
        try:
            return ModelMessagesTypeAdapter.validate_python(list(messages))
        except ValidationError as error:
            raise InvalidPayload(f"the messages of {where} cannot be read: {error.errors()[0]['msg']}") from None
    found: list[ModelMessage] = []
    for each in messages:
        if each.get("role") == "assistant":
            found.append(ModelResponse(parts=[TextPart(_text(each, where))]))
        else:
            parts = _parts(each, where)
            if found and isinstance(found[-1], ModelRequest):
                found[-1] = ModelRequest(parts=[*found[-1].parts, *parts])
            else:
                found.append(ModelRequest(parts=parts))
    return found


def request_parts(message: Any) -> list[ModelRequestPart]:
    """A steering message as parts of the next request: a text, or a message of a user or of the system.

    Anything else is told to the model as JSON: the task that was steered runs already, and must not fail by a message
    which it would get again with each attempt.
    """
    if isinstance(message, Mapping):
        with suppress(InvalidPayload):
            return _parts(message, "steering")
    return [UserPromptPart(message if isinstance(message, str) else msgspec.json.encode(message).decode())]


def _parts(message: Mapping[str, Any], where: str) -> list[ModelRequestPart]:
    match message.get("role", "user"):
        case "user":
            return [UserPromptPart(_text(message, where))]
        case "system" | "developer":
            return [SystemPromptPart(_text(message, where))]
        case other:
            raise InvalidPayload(f"a message of {where} has the role {other!r}: it must be user, assistant or system")


def _text(message: Mapping[str, Any], where: str) -> str:
    content = message.get("content")
    if not isinstance(content, str):
        raise InvalidPayload(f"a message of {where} has no text under 'content'")
    return content
