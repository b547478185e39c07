"""What an endpoint was asked, and how each of these calls ended."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
from msgspec import Struct

from tenuto.errors import WaitTimeout
from tenuto.testing.conversation import Request
from tenuto.testing.script import Usage

__all__ = ["Call", "CallLog", "matching"]


class Call(Struct, kw_only=True):
    """One call of a model.

    `at` is Unix seconds; `status` the one that was sent, 0 as long as none was; `outcome` is one of

    - `pending`: not answered yet
    - `answered`: all of the answer was sent
    - `refused`: an error was sent, by the script or because the request was not well formed; `error` is its message
    - `cut`: the connection was dropped by the script
    - `gone`: the client went before it had the whole answer
    - `closed`: the endpoint was closed before

    `usage` is what the answer said it cost, also where the client did not get all of it. `key_end` is the last four
    characters of the provider's key; neither `headers` nor anything else here holds a secret. `retry` is the number
    of the retry as the provider's SDK counts it.
    """

    number: int
    at: float
    path: str
    format: str = ""
    model: str = ""
    turn: int = 0
    attempt: int = 0
    stream: bool = False
    max_tokens: int | None = None
    tools: tuple[str, ...] = ()
    messages: list[Any] = []
    text: str = ""
    has_key: bool = False
    key_end: str = ""
    retry: int = 0
    headers: dict[str, str] = {}
    status: int = 0
    outcome: str = "pending"
    error: str = ""
    usage: Usage | None = None


class CallLog:
    """The calls of an endpoint, to which its thread adds and which any thread may read."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._changed = threading.Condition()

    def add(self, path: str, headers: dict[str, str]) -> Call:
        """Notes a call that has just been received."""
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        retry = headers.get("x-stainless-retry-count", "0")
        with self._changed:
            call = Call(
                number=len(self._calls) + 1,
                at=time.time(),
                path=path,
                has_key=bool(key),
                key_end=key[-4:] if len(key) > 8 else "",
                retry=int(retry) if retry.isdecimal() else 0,
                headers={name: value for name, value in headers.items() if not _secret(name)},
            )
            self._calls.append(call)
            self._changed.notify_all()
        return call

    def note(self, call: Call, **fields: Any) -> None:
        """Sets these fields of `call`, and wakes those who wait for calls."""
        with self._changed:
            for name, value in fields.items():
                setattr(call, name, value)
            self._changed.notify_all()

    def understood(self, call: Call, request: Request) -> None:
        """Notes what is asked for."""
        said = request.body.get("messages", request.body.get("input", []))
        self.note(
            call,
            format=request.format,
            model=request.model,
            turn=request.turn,
            attempt=request.attempt,
            stream=request.stream,
            max_tokens=request.max_tokens,
            tools=request.tools,
            text=request.text,
            messages=said if isinstance(said, list) else [said],
        )

    def all(self) -> list[Call]:
        """A copy of the calls so far, in the order in which they came."""
        with self._changed:
            return [msgspec.structs.replace(call) for call in self._calls]

    def wait_for(self, calls: int, timeout: float, **fields: Any) -> list[Call]:
        """The calls with these fields, as soon as there are `calls`. Raises `WaitTimeout` after `timeout` seconds."""
        with self._changed:
            if self._changed.wait_for(lambda: len(matching(self._calls, **fields)) >= calls, timeout):
                return [msgspec.structs.replace(call) for call in matching(self._calls, **fields)]
            found = len(matching(self._calls, **fields))
        raise WaitTimeout(f"after {timeout:g} seconds the endpoint has {found} such calls, not {calls}: {fields}")


def matching(calls: list[Call], contains: str = "", **fields: Any) -> list[Call]:
    """Those of `calls` in whose text `contains` is found and whose fields are as given. An unknown field: TypeError."""
    unknown = fields.keys() - {one.name for one in msgspec.structs.fields(Call)}
    if unknown:
        raise TypeError(f"a call has no field {', '.join(sorted(unknown))}")
    return [
        call
        for call in calls
        if contains in call.text and all(getattr(call, name) == value for name, value in fields.items())
    ]


def _secret(header: str) -> bool:
    return any(word in header for word in ("auth", "key", "cookie", "token", "secret"))
