"""Events: the record of what happened to a task.

A transition and its event are written together. `seq` is dense per task and starts at 1; feeds over many
tasks are resumed by `cursor`, which is opaque. Every run of a task has exactly one final event
(done, failed or cancelled).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import Millis

__all__ = [
    "AGENT_EVENTS",
    "FINAL_EVENTS",
    "STREAMED",
    "THINKING",
    "TOKENS",
    "TOKENS_RESET",
    "TOOL_ARGS",
    "Event",
    "EventKind",
    "chosen",
    "is_named",
]


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

TOKENS, THINKING, TOOL_ARGS, TOKENS_RESET = "tokens", "thinking", "tool_args", "tokens_reset"

STREAMED = frozenset({TOKENS, THINKING, TOOL_ARGS, TOKENS_RESET})
"""Names of what an agent tells while its model answers: see `agents.llm.streaming`."""

AGENT_EVENTS = frozenset({"turn", "call_deferred", "call_answered"}) | STREAMED
"""Names under which agents that work in turns emit events: a turn is recorded, a call waits for people, a person has
answered it, the model says something. Whoever subscribes may name them like kinds."""


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


def chosen(event_types: Sequence[EventKind | str]) -> tuple[tuple[EventKind, ...], frozenset[str]]:
    """From what a subscriber names, kinds or `AGENT_EVENTS`: the kinds of events to read, and the names of those that
    agents emit; no names: whatever they emit. Raises `InvalidInput`."""
    wanted = {str(name).lower(): name for name in event_types}
    names = AGENT_EVENTS.intersection(wanted)
    kinds = {_kind_named(name): None for lower, name in wanted.items() if lower not in names}
    if names and EventKind.EMITTED in kinds:
        names = frozenset()
    return tuple(kinds | ({EventKind.EMITTED: None} if names else {})), names


def is_named(event: Event, names: frozenset[str]) -> bool:
    """Whether an event of the chosen kinds is one of those that were chosen by `names`."""
    return not names or event.kind is not EventKind.EMITTED or event.data.get("name") in names


def _kind_named(name: EventKind | str) -> EventKind:
    try:
        return EventKind(str(name).lower())
    except ValueError:
        known = ", ".join((*EventKind, *sorted(AGENT_EVENTS)))
        raise InvalidInput(f"{name!r} is no type of event: use some of {known}") from None
