"""What clients of the command interface send, and what they get back: JSON in UTF-8, one document each way.

    {"command": "stop", "args": {"agent": "db"}}                      from any REQ socket; or, the envelope:
    {"sender": "cli", "event_name": "COMMAND", "timestamp": 1700000000.0,
     "payload": {"command": "stop", "args": {"agent": "db"}, "request_id": "17"}}

    {"status": "success", "code": 0, "data": …, "error": null, "request_id": "17"}

`args` may be an object, a list (by position), or missing. `token` beside `command` (or in the envelope) is needed where
the orchestrator asks for one. Codes: 0 done, 400 makes no sense, 403 not allowed, 404 no such command or agent, 409 not
in this state, 500 anything else.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tenuto.errors import Conflict, Forbidden, InvalidInput, NotFound, TenutoError
from tenuto.supervisor.access import masked

__all__ = [
    "AGENT_NAMES",
    "LARGEST_REQUEST",
    "Answer",
    "Request",
    "answer_of_error",
    "error_of_answer",
    "id_in",
    "read_answer",
    "read_request",
]

LARGEST_REQUEST = 1024 * 1024
"""Bytes. A client that sends more is cut off."""

AGENT_NAMES = ("agent", "agent_name", "name")
"""What the argument that names an agent may be called."""

_LONGEST_TEXT = 255


class Request(msgspec.Struct, frozen=True):
    """A command that somebody asks for."""

    command: str
    args: dict[str, Any] | list[Any] = {}
    request_id: str | int | float | None = None
    sender: str | None = None
    token: str | None = None

    @property
    def agent(self) -> str | None:
        """The agent that it is about, where it names one."""
        if isinstance(self.args, list):
            return None
        found = next((self.args[name] for name in AGENT_NAMES if name in self.args), None)
        return found if isinstance(found, str) else None


class Answer(msgspec.Struct, frozen=True):
    """What became of it."""

    status: str
    code: int
    data: Any = None
    error: str | None = None
    request_id: Any = None

    def encoded(self) -> bytes:
        """The answer as it is sent. What has no JSON form goes as text."""
        return _encode(self)


_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder(Answer).decode


def read_request(body: bytes) -> Request:
    """Reads a request of either form. Raises `InvalidInput` with the reason; `id_in` may still find its id."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the request is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput('the request must be an object such as {"command": "ps"}')
    payload = document
    if "payload" in document:
        if str(document.get("event_name", "COMMAND")).upper() != "COMMAND":
            raise InvalidInput(f"event_name must be COMMAND, not {document['event_name']!r:.60}")
        payload = document["payload"]
        if not isinstance(payload, dict):
            raise InvalidInput("payload must be an object with a command")
    command = payload.get("command")
    if not isinstance(command, str) or not command or len(command) > _LONGEST_TEXT:
        raise InvalidInput('command is missing: write {"command": "ps"}')
    args = payload.get("args")
    if not isinstance(args, dict | list | None):
        raise InvalidInput("args must be an object or a list")
    token = payload.get("token", document.get("token"))
    return Request(
        command.strip().lower().replace("_", "-"),
        {} if args is None else args,
        _request_id_of(document),
        _text(document.get("sender")),
        token if isinstance(token, str) else None,
    )


def _request_id_of(document: Any) -> str | int | float | None:
    """The id that an answer is to carry; None where there is none, or it is no text or number."""
    payload = document.get("payload") if isinstance(document, dict) else None
    holder = payload if isinstance(payload, dict) else document
    found = holder.get("request_id") if isinstance(holder, dict) else None
    if isinstance(found, str):
        return found[:_LONGEST_TEXT]
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def id_in(body: bytes) -> str | int | float | None:
    """The id in a request that makes no sense otherwise."""
    try:
        return _request_id_of(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else None


def read_answer(body: bytes) -> Answer:
    """Reads what an orchestrator has answered. Raises `InvalidInput` when it is no answer."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"what answered is no orchestrator: {error}") from None


_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (InvalidInput, 400),
)


def answer_of_error(error: BaseException, request_id: Any = None) -> Answer:
    """The answer that tells a client what went wrong, without passwords."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), 500)
    sentence = str(error) if isinstance(error, TenutoError) else f"the command failed: {type(error).__name__}: {error}"
    return Answer("error", code, None, masked(sentence.encode("utf-8", "replace").decode()), request_id)


def error_of_answer(answer: Answer) -> TenutoError:
    """The error to raise for an answer that is none of success."""
    sentence = answer.error or f"the orchestrator answered with code {answer.code}"
    kind = {400: InvalidInput, 403: Forbidden, 404: NotFound, 409: Conflict}.get(answer.code, TenutoError)
    return kind(sentence)
