"""Calls that a task has issued and others answer: what its journal notes about each.

That a call was issued is noted before anybody can hear of it, with what is asked for: an answer to a call that nobody
has issued can be told from one that is merely fast, and whoever approves sees what would be done.

    call-abc@issued    an `Issued`
    call-abc@answer    what was answered; recorded when the task goes on with it
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import msgspec

from tenuto.tasks.clock import Millis

__all__ = ["Issued", "OpenCall", "answer_key", "call_name", "is_issued_key", "issued_key", "said"]

_PLAIN = re.compile(r"[\w.:-]{1,100}")


class Issued(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that waits for somebody."""

    id: str
    tool: str
    arguments: Any
    kind: Literal["answer", "approval"]
    at: Millis
    until: Millis | None = None
    """when the task goes on without an answer"""


class OpenCall(Issued, frozen=True, kw_only=True):
    """One that nobody has answered yet, and whose task it is."""

    task_id: str
    agent: str
    owner_id: str


def said(kind: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What is told of the answer to a call: who has decided what, and why (`approved`, `by`, `note`), or that none came
    in time (`failed`); of a result only that it has come. answer: as the journal has it."""
    if "failed" in answer:
        return {"failed": answer["failed"]}
    value = answer.get("value")
    if kind != "approval" or not isinstance(value, dict):
        return {}
    return {name: value[name] for name in ("approved", "by", "note") if value.get(name) is not None}


def call_name(call_id: str) -> str:
    """A call's id, which others have chosen, as part of a step's key."""
    plain = call_id if _PLAIN.fullmatch(call_id) else hashlib.blake2b(call_id.encode(), digest_size=12).hexdigest()
    return f"call-{plain}"


def issued_key(call_id: str) -> str:
    """The journal's key of the note that a call was issued."""
    return f"{call_name(call_id)}@issued"


def is_issued_key(key: str) -> bool:
    """Whether `key` is one of those."""
    return key.startswith("call-") and key.endswith("@issued")


def answer_key(call_id: str) -> str:
    """The journal's key of what was answered."""
    return f"{call_name(call_id)}@answer"
