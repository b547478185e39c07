"""Signals: durable messages to a task.

Two kinds. A *directive* (cancel, pause, resume, elevate, retry, resolve) takes effect in the transaction
that stores it; nothing of it remains but its event. A *message* (steer, answer, event)
goes into the task's inbox, is delivered with the lease in the order it arrived, and is consumed by naming
it in the commit that contains its effect; until then it is delivered again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tenuto.tasks.clock import Millis

__all__ = ["DIRECTIVES", "Delivery", "Message", "Signal", "SignalKind"]


class SignalKind(StrEnum):
    """What a signal asks for."""

    CANCEL = "cancel"
    """the task and every descendant end as cancelled"""
    PAUSE = "pause"
    """the task and every descendant are not claimed; a running one stops at its next step"""
    RESUME = "resume"
    """undoes PAUSE on the task and every descendant"""
    ELEVATE = "elevate"
    """data: the new priority"""
    RETRY = "retry"
    """a finished task runs again, a failed goal from where it failed. data: {"fresh": true} forgets the journal"""
    RESOLVE = "resolve"
    """decides about a step whose outcome is unknown, or with which its task failed.
    data: {"key", "how": done|retry|fail, "value"?}"""
    STEER = "steer"
    """a message for the task's next turn"""
    ANSWER = "answer"
    """the result of deferred work, or of a request for approval"""
    EVENT = "event"
    """a named event"""


DIRECTIVES = frozenset(
    {
        SignalKind.CANCEL,
        SignalKind.PAUSE,
        SignalKind.RESUME,
        SignalKind.ELEVATE,
        SignalKind.RETRY,
        SignalKind.RESOLVE,
    }
)


class Signal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal as it is sent."""

    task_id: str
    kind: SignalKind
    topic: str = ""
    """for messages: what it is about, see `waits`; the kind's own name when empty"""
    data: Any = None
    key: str | None = None
    """a message sent twice under one key to one task is stored once"""
    reason: str | None = None
    """for directives: shown to people"""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal as it lies in the inbox."""

    number: int
    """position in the task's inbox, from 1; what a commit names to consume it"""
    kind: SignalKind
    topic: str
    data: Any
    at: Millis


class Delivery(StrEnum):
    """What became of a signal."""

    ACCEPTED = "accepted"
    ALREADY = "already"
    """sent before under the same key, or nothing to change"""
    UNKNOWN = "unknown"
    """no such task"""
    FINISHED = "finished"
    """the task is in a final state, and the signal needs one that is not"""
    REFUSED = "refused"
    """the signal does not fit the task; the detail says why"""
