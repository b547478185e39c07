"""What happens under a supervisor: the names of events, and the record that is kept of one.

Events of agents, commands and the orchestrator itself are recorded in the supervisor's own history (`event_store`).
Events of tasks (`TASK_…`) reach callbacks on the same bus, but their history is the store's: it survives the process.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from enum import Enum, StrEnum
from typing import Any

import msgspec

from tenuto.errors import InvalidInput

__all__ = [
    "Category",
    "OrchestratorEvent",
    "Record",
    "Severity",
    "category_of",
    "event_name_of",
    "meant_event",
    "plain_name",
    "severity_of",
]


class OrchestratorEvent(StrEnum):
    """What happened. Payloads carry `agent_name` where one agent is meant; in brackets: what else they hold."""

    INIT = "INIT"
    """the orchestrator has started"""
    SHUTDOWN = "SHUTDOWN"
    """it shuts down [survivors: agents that did not end]"""
    AGENT_REGISTERED = "AGENT_REGISTERED"
    AGENT_STARTED = "AGENT_STARTED"
    """its process, thread or coroutine runs [generation, pid]"""
    AGENT_READY = "AGENT_READY"
    """its `setup` is over: dependents may start"""
    AGENT_HEARTBEAT = "AGENT_HEARTBEAT"
    AGENT_MESSAGE = "AGENT_MESSAGE"
    """it has sent a message [message]"""
    AGENT_ERROR = "AGENT_ERROR"
    """[error_message]"""
    AGENT_TIMEOUT = "AGENT_TIMEOUT"
    """it did not start or stop in time"""
    AGENT_TERMINATED = "AGENT_TERMINATED"
    """it has ended, exactly once per start [reason, exit_code, signal]"""
    ALL_AGENTS_TERMINATED = "ALL_AGENTS_TERMINATED"
    COMMAND_EXECUTED = "COMMAND_EXECUTED"
    """somebody asked for a command; refused ones are here too [command, args, code, sender]"""

    # One for each kind of task event; the payload is that event's: task_id, attempt, owner, cursor, and its own data.
    TASK_CREATED = "TASK_CREATED"
    TASK_READY = "TASK_READY"
    TASK_STARTED = "TASK_STARTED"
    TASK_PROGRESS = "TASK_PROGRESS"
    TASK_EMITTED = "TASK_EMITTED"
    TASK_WAITING = "TASK_WAITING"
    TASK_SCHEDULED = "TASK_SCHEDULED"
    TASK_RELEASED = "TASK_RELEASED"
    TASK_LOST = "TASK_LOST"
    TASK_SIGNALLED = "TASK_SIGNALLED"
    TASK_PAUSED = "TASK_PAUSED"
    TASK_RESUMED = "TASK_RESUMED"
    TASK_ELEVATED = "TASK_ELEVATED"
    TASK_RESOLVED = "TASK_RESOLVED"
    TASK_RETRIED = "TASK_RETRIED"
    TASK_DONE = "TASK_DONE"
    TASK_FAILED = "TASK_FAILED"
    TASK_CANCELLED = "TASK_CANCELLED"


class Severity(StrEnum):
    """How grave an event is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Category(StrEnum):
    """What an event is about."""

    AGENT = "agent"
    COMMAND = "command"
    ORCHESTRATOR = "orchestrator"
    TASK = "task"
    OTHER = "other"
    """an event of the program's own"""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One entry of the history. The payload's fields are attributes too: `record.error_message`.

    The payload is kept as JSON, as it was when the event was emitted; values that JSON has not are kept as text.
    """

    seq: int
    """rises by one with each event of a history; where a reader stands, see `EventStore.query`"""
    timestamp: float
    """seconds since 1970"""
    category: str
    event_name: str
    agent_name: str | None
    severity: str
    payload: bytes = b"{}"
    truncated: bool = False
    """whether values of the payload were cut because it was too large"""

    @property
    def data(self) -> dict[str, Any]:
        """The payload, without `agent_name`."""
        found: dict[str, Any] = msgspec.json.decode(self.payload)
        return found

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            data = self.data
            if name in data:
                return data[name]
        raise AttributeError(f"the record of {self.event_name} has no field {name!r}: it has {', '.join(self.data)}")

    def document(self) -> dict[str, Any]:
        """The record in JSON types, for commands and files."""
        return {
            "seq": self.seq,
            "timestamp": self.timestamp,
            "category": self.category,
            "event_name": self.event_name,
            "agent_name": self.agent_name,
            "severity": self.severity,
            "data": self.data,
            "truncated": self.truncated,
        }


_SEVERITIES = {
    OrchestratorEvent.AGENT_HEARTBEAT: Severity.DEBUG,
    OrchestratorEvent.AGENT_ERROR: Severity.ERROR,
    OrchestratorEvent.AGENT_TIMEOUT: Severity.WARNING,
    OrchestratorEvent.TASK_FAILED: Severity.ERROR,
    OrchestratorEvent.TASK_LOST: Severity.WARNING,
}
_CATEGORIES = {
    event: Category.TASK
    if event.name.startswith("TASK_")
    else Category.AGENT
    if event.name.startswith("AGENT_")
    else Category.COMMAND
    if event is OrchestratorEvent.COMMAND_EXECUTED
    else Category.ORCHESTRATOR
    for event in OrchestratorEvent
}
# Looked up at every emit, and by the plain text as well: a member of a `StrEnum` equals it and hashes like it.
_CATEGORY_OF: dict[str, str] = {event.value: category.value for event, category in _CATEGORIES.items()}
_SEVERITY_OF: dict[str, str] = {event.value: severity.value for event, severity in _SEVERITIES.items()}


def category_of(event_name: str) -> str:
    """The category of the event called `event_name`."""
    return _CATEGORY_OF.get(event_name, "other")


def severity_of(event_name: str) -> str:
    """How grave an event called `event_name` is when nothing is said about it."""
    return _SEVERITY_OF.get(event_name, "info")


def event_name_of(event: str | Enum) -> str:
    """The name of `event`: an `OrchestratorEvent`, its name in any case, or a member of the program's own `Enum`.

    Such a member is called by its value where that is text, else by its name.

    Raises `InvalidInput` for a text that names no event: a typing error must not wait for ever for an event that never
    comes.
    """
    name = plain_name(event)
    if isinstance(event, Enum) or name in _CATEGORY_OF:
        return name
    meant = meant_event(name)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(_CATEGORY_OF)}; your own are Enum members"
    raise InvalidInput(f"there is no event {event!r}: {hint}")


def plain_name(event: str | Enum) -> str:
    """What `event` is called, whether there is such an event or not."""
    if isinstance(event, Enum):
        return (event.value if isinstance(event.value, str) else event.name).upper()
    return str(event).upper()


def meant_event(name: str, own: Collection[str] = ()) -> str | None:
    """The event whose name looks most like `name`; None when none does. own: names of the program's own events."""
    return next(iter(difflib.get_close_matches(name, (*_CATEGORY_OF, *own), 1)), None)
