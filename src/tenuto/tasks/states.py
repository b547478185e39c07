"""The states of a task, and the coarse status that clients see.

Stored lower case (`ready`), shown upper case; both are read. `State` is what the engine
decides by; `Status` is what a caller who only wants to know "is it done yet" looks at.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ACTIVE", "FINAL", "State", "Status", "status_of"]


class _AnyCase(StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> _AnyCase | None:
        if isinstance(value, str):
            lowered = value.strip().lower()
            for member in cls:
                if member.value == lowered:
                    return member
        return None


class State(_AnyCase):
    """Where a task stands. See `transitions` for what leads from one to another."""

    BLOCKED = "blocked"
    """waits for the tasks it depends on"""
    READY = "ready"
    """can be claimed now"""
    SCHEDULED = "scheduled"
    """becomes ready at a known time: a delay, or the back-off before a retry"""
    RUNNING = "running"
    """held by a worker under a lease"""
    WAITING = "waiting"
    """holds nothing and waits: for children, an answer, a named event, or a time"""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Status(_AnyCase):
    """The coarse state shown to clients."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED})
"""Final states change only by an explicit retry."""

ACTIVE = frozenset(State) - FINAL

_STATUS = {
    State.BLOCKED: Status.QUEUED,
    State.READY: Status.QUEUED,
    State.SCHEDULED: Status.QUEUED,
    State.RUNNING: Status.PROCESSING,
    State.WAITING: Status.PROCESSING,
    State.DONE: Status.COMPLETED,
    State.FAILED: Status.FAILED,
    State.CANCELLED: Status.CANCELLED,
}


def status_of(state: State) -> Status:
    """The coarse status of `state`."""
    return _STATUS[state]
