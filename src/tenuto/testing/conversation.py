"""A request to a model, in words that belong to no provider: what scripts look at to choose their answer.

Each wire format turns the body it receives into a `Request`; `ScriptedModel` makes one of the messages of Pydantic
AI. So the same script serves every provider, and a model without HTTP too.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["Message", "Request", "ToolCall", "ToolResult"]


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True):
    """A model's wish that a tool be called.

    `args` is a dict, or a string that is sent as it is, which need not be JSON. `id` is given by the endpoint where
    it is empty: no two answers share one, as with real providers.
    """

    name: str
    args: Any = {}
    id: str = ""

    @property
    def json(self) -> str:
        """The arguments as the text that travels."""
        return self.args if isinstance(self.args, str) else msgspec.json.encode(self.args).decode()


class ToolResult(Struct, frozen=True):
    """What a tool gave back: `id` is that of its call, `text` its content, `failed` what Anthropic calls `is_error`."""

    id: str
    text: str
    failed: bool = False


class Message(Struct, frozen=True):
    """One message of a conversation. `role` is `user`, `assistant` or `tool`; the system's words are not in here."""

    role: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()


class Request(Struct, frozen=True, kw_only=True):
    """What a model is asked.

    `compacts`: a summary of all that was said is asked for, and no answer; `compacted`: how many answers a summary in
    the conversation stands for.

    `format` is `openai-chat`, `openai-responses`, `anthropic` or `scripted`; `tools` are the names of the tools on
    offer, `schemas` what their arguments must fit; `max_tokens` the most that may be answered, None where the request
    does not say; `wants_json` whether the answer's text must fit a schema, `output_schema` that one; `body` the request
    as it was received; `attempt` how often this very conversation has been sent to this model, this time included.
    """

    format: str
    model: str
    system: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[str, ...] = ()
    schemas: dict[str, Any] = {}
    stream: bool = False
    max_tokens: int | None = None
    wants_json: bool = False
    output_schema: Any = None
    body: dict[str, Any] = {}
    attempt: int = 1
    compacts: bool = False
    compacted: int = 0

    @property
    def turn(self) -> int:
        """The number of the answer that is asked for, from 1: one more than the assistant's messages so far."""
        return 1 + self.compacted + sum(message.role == "assistant" for message in self.messages)

    @property
    def first(self) -> str:
        """The text of the first message of the user."""
        return next((message.text for message in self.messages if message.role == "user"), "")

    @property
    def last(self) -> str:
        """The text of the last message, or of the tools' results in it."""
        return _words(self.messages[-1]) if self.messages else ""

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The tools' results that came since the assistant's last message, in order."""
        found: list[ToolResult] = []
        for message in reversed(self.messages):
            if message.role == "assistant":
                break
            found[:0] = message.results
        return tuple(found)

    @property
    def text(self) -> str:
        """All that was said, by whomever, the system included, one message a line."""
        return "\n".join([self.system, *map(_words, self.messages)])

    @property
    def identity(self) -> str:
        """A digest of model and conversation: equal for a request that is made again."""
        said = msgspec.json.encode([self.model, self.system, self.messages])
        return hashlib.blake2b(said, digest_size=16).hexdigest()


def _words(message: Message) -> str:
    parts = [message.text, *(f"{call.name} {call.json}" for call in message.calls), *(r.text for r in message.results)]
    return "\n".join(part for part in parts if part)
