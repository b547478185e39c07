"""Events: the record of what happened to a task.

A transition and its event are written together. `seq` is dense per task and starts at 1; feeds over many
tasks are resumed by `cursor`, which is opaque. Every run of a task has exactly one final event
(done, failed or cancelled).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tenuto.tasks.clock import Millis

__all__ = ["AGENT_EVENTS", "FINAL_EVENTS", "TOKENS", "Event", "EventKind"]


class EventKind(StrEnum):
    """What happened. In brackets: what `data` holds."""

    CREATED = "created"
    """[state]"""
    READY = "ready"
    """[why: dependencies met, due, awaited, resumed …]"""
    STARTED = "started"
    """[worker]"""
    PROGRESS = "progress"
    """[fraction, message]"""
    EMITTED = "emitted"
    """the task's own event [name, data]"""
    WAITING = "waiting"
    """[on, until]"""
    SCHEDULED = "scheduled"
    """an attempt failed and is retried [due, error]"""
    RELEASED = "released"
    """the worker handed the lease back [reason]"""
    LOST = "lost"
    """the lease ended without a word [worker, losses]"""
    SIGNALLED = "signalled"
    """a message arrived [kind, topic, number]"""
    PAUSED = "paused"
    """[reason]"""
    RESUMED = "resumed"
    ELEVATED = "elevated"
    """[priority]"""
    RESOLVED = "resolved"
    """[key, how]"""
    RETRIED = "retried"
    """a finished task was asked to run again [run, fresh]"""
    DONE = "done"
    """[not_applied: numbers of steering messages that came too late]"""
    FAILED = "failed"
    """[error]"""
    CANCELLED = "cancelled"
    """[reason]"""


FINAL_EVENTS = frozenset({EventKind.DONE, EventKind.FAILED, EventKind.CANCELLED})

TOKENS = "tokens"

AGENT_EVENTS = frozenset({"turn", TOKENS, "call_deferred"})
"""Names under which agents that work in turns emit events: a turn is recorded, the model says something, a call waits
for people. Whoever subscribes may name them like kinds."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a task's history."""

    task_id: str
    seq: int
    kind: EventKind
    at: Millis
    attempt: int = 0
    data: dict[str, Any] = {}
    owner: str = ""
    cursor: str = ""
    """where a feed stands after this event; empty until the event has been stored"""
