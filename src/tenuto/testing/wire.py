"""What a wire format must offer to be served: reading requests, writing answers whole or as events, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from tenuto.testing.answer import Answer
from tenuto.testing.conversation import Request

__all__ = ["Refused", "WireFormat", "field", "sse", "text_of"]

T = TypeVar("T")


class Refused(Exception):
    """The request is not one that the provider would answer: `status`, and what goes into the error's body."""

    def __init__(self, message: str, *, status: int = 400, code: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param


@dataclass(frozen=True)
class WireFormat:
    """One provider's way to speak.

    `read` turns a body into a `Request` and raises `Refused` for a history that is broken; `whole` is the body of an
    answer; `events` are the parts of a streamed one, each ready to be sent; `error` is the body of an error and
    `error_event` the same within a stream.
    """

    name: str
    read: Callable[[dict[str, Any]], Request]
    whole: Callable[[Answer], dict[str, Any]]
    events: Callable[[Answer], Iterator[bytes]]
    error: Callable[[Refused], dict[str, Any]]
    error_event: Callable[[Refused], bytes]


def sse(data: dict[str, Any], event: str = "") -> bytes:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"


def field(body: dict[str, Any], name: str, kind: type[T], where: str = "") -> T:
    """The field `name` of `body`. Raises `Refused` where it is missing or of another type."""
    found = body.get(name)
    path = f"{where}.{name}" if where else name
    if found is None:
        raise Refused(f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path)
    if not isinstance(found, kind):
        said = f"Invalid type for '{path}': expected {kind.__name__}, but got {type(found).__name__}."
        raise Refused(said, code="invalid_type", param=path)
    return found


def text_of(content: Any) -> str:
    """The text in a message's content: a string, or a list of parts of which some have text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
