"""Turns of a conversation as a task's journal holds them: plain JSON, read without the library that wrote it.

    turn-4/model#0             {"from": 7, "messages": [...], "response": {...}, "steered": 1}
    turn-4/call-abc/search     what the tool gave for the call `abc`
    call-def@answer            what somebody answered to the call `def`

The conversation is a log. The entry of a turn says how many messages of it still stood (`from`), what was added to them
before the model was asked, and what the model said; and, where that is not as in the turn before, which tools and which
form of output it was offered (`offer`). The last `steered` parts of what was added are messages with which people had
steered the task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tenuto.tasks.calls import answer_key, call_name
from tenuto.tasks.clock import Millis

__all__ = [
    "Turn",
    "calls_of",
    "log_of",
    "model_key",
    "nobodys",
    "outcome_of",
    "resolved",
    "result_keys",
    "returned",
    "tool_return",
    "without_steering",
]

_CALL = re.compile(r"turn-\d+/(call-[^/]+/)+[^/#]+")

_OF_ONE_TASK = frozenset({"run_id", "conversation_id"})
"""Fields of a message that name the task which it was part of."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the model, and its response."""

    number: int
    """from 1"""
    kept: int = msgspec.field(name="from")
    """messages of the log that still stood"""
    messages: list[dict[str, Any]]
    """what was added to them, with the request at its end, in Pydantic AI's form"""
    response: dict[str, Any]
    offer: dict[str, Any] | None = None
    """what went along with the request; None: the same as with the one before"""
    steered: int = 0
    """parts at the end of the request that came from people while the task ran"""
    at: Millis = 0
    """when it was recorded"""
    answered: list[dict[str, Any]] = []
    """what people have said to its calls: `tool_call_id`, `tool`, `kind`, and what `tasks.calls.said` tells of it"""
    cost: int = 0
    """what its calls count as, nano-dollars"""


def model_key(turn: int, number: int = 0) -> str:
    """The journal's key for the `number`-th request to the model in a turn."""
    return f"turn-{turn}/model#{number}"


def calls_of(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tool calls that a response asks for."""
    return [part for part in response["parts"] if part["part_kind"] == "tool-call"]


def result_keys(turn: int, call: Mapping[str, Any]) -> tuple[str, str, str]:
    """The journal's keys under which the result of a call can lie, the deciding one first."""
    call_id = call["tool_call_id"]
    key = f"turn-{turn}/{call_name(call_id)}/{call['tool_name']}"
    return f"{key}@approved", key, answer_key(call_id)


def tool_return(value: Any) -> dict[str, Any]:
    """The entry of a call whose tool has returned `value`."""
    return {"kind": "tool_return", "result": value}


def resolved(key: str, value: Any) -> Any:
    """The entry `key`, where a person says that it came to `value`: a tool's result has a form of its own. (The model
    would be told of any other as of wrong arguments, and call the tool again.)"""
    return tool_return(value) if _CALL.fullmatch(key) else value


def log_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The messages as they stood after the last of `turns`, which begin with the first."""
    log: list[dict[str, Any]] = []
    for turn in turns:
        log[turn.kept :] = [*turn.messages, turn.response]
    return log


def nobodys(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages, for another task to begin with."""
    return [{name: value for name, value in message.items() if name not in _OF_ONE_TASK} for message in messages]


def without_steering(turn: Turn) -> list[dict[str, Any]]:
    """What was added before the model was asked, but for what people said while the task ran."""
    if not turn.steered:
        return turn.messages
    *before, request = turn.messages
    parts = request["parts"][: -turn.steered]
    return [*before, request | {"parts": parts}] if parts else before


def outcome_of(call: Mapping[str, Any], recorded: Any) -> list[dict[str, Any]] | None:
    """The parts of a request that tell the model what came of a call; None when that is not known yet.

    recorded: what lies under one of `result_keys`.
    """
    match recorded:
        case {"value": {"approved": True}}:
            return None
        case {"value": {"approved": False} as decision}:
            note = decision.get("note")
            return [returned(call, f"The call was rejected: {note}" if note else "The call was rejected.", "denied")]
        case {"kind": "tool_return", "result": {"kind": "tool-return", "return_value": value} as result} | {
            "kind": "tool_content_result",
            "result": {"return_value": value} as result,
        }:
            content = result.get("content")
            said = [] if content is None else [{"part_kind": "user-prompt", "content": content}]
            return [returned(call, value), *said]
        case {"kind": "tool_return", "result": result} | {"value": result, "at": _}:
            return [returned(call, result)]
        case {"kind": "model_retry" | "validation_error"}:
            told = recorded.get("message") or msgspec.json.encode(recorded["errors"]).decode()
            return [returned(call, told, "retried")]
        case {"kind": "tool_failed", "message": told} | {"failed": told}:
            return [returned(call, told, "failed")]
    return None


def returned(call: Mapping[str, Any], content: Any, outcome: str = "success") -> dict[str, Any]:
    """The part of a request that tells the model what came of a call."""
    named = {"tool_name": call["tool_name"], "tool_call_id": call["tool_call_id"]}
    return {"part_kind": "tool-return", **named, "content": content, "outcome": outcome}
