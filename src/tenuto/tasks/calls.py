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

__all__ = ["Issued", "answer_key", "call_name", "is_issued_key", "issued_key"]

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
