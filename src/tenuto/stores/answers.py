"""What is asked of a store, and what it answers: the values that cross the contract in `base`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from tenuto.tasks.clock import Millis
from tenuto.tasks.event import Event
from tenuto.tasks.lease import Lease
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Answer, Outcome
from tenuto.tasks.signal import Delivery, Message
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task

__all__ = [
    "AgentLoad",
    "Claim",
    "Delivered",
    "EventPage",
    "Exchange",
    "Exchanged",
    "Hint",
    "LimitUse",
    "Renewal",
    "Submission",
    "Submitted",
    "Swept",
    "TaskFilter",
    "TaskPage",
    "TimeToLive",
    "Verdict",
    "Why",
    "WorkerInfo",
]

DAY: Millis = 86_400_000


# -- submit ------------------------------------------------------------------------------------------------


class Verdict(StrEnum):
    """What became of a submitted tree."""

    CREATED = "created"
    EXISTING = "existing"
    """the same id, idempotency key or unique key was there already, with equal content (for unique: with any)"""
    CONFLICT = "conflict"
    """the same id or idempotency key was there already, with other content; nothing was stored"""
    REFUSED = "refused"
    """the tree itself cannot be accepted; nothing was stored"""


class Submission(msgspec.Struct, frozen=True):
    """The answer to one submitted tree."""

    task_id: str
    """of the root: the stored one where one existed"""
    verdict: Verdict
    detail: str = ""
    """one sentence when CONFLICT or REFUSED"""
    nodes: dict[str, str] = {}
    """of a goal: task id by node id"""


Submitted = Sequence[Submission]


# -- commit and claim --------------------------------------------------------------------------------------


class Claim(msgspec.Struct, frozen=True):
    """What a worker would like to run."""

    agents: tuple[str, ...]
    slots: int
    """at most this many tasks"""
    lease: Millis
    """how long each is held"""


class Exchange(msgspec.Struct, frozen=True):
    """One request of a worker: what it finished, what it wants."""

    worker: str
    """the worker's incarnation: unique per start"""
    number: int
    """counts the requests of this incarnation from 1; a repeat gets the answer that the first one got"""
    outcomes: tuple[Outcome, ...] = ()
    claim: Claim | None = None


class Exchanged(msgspec.Struct, frozen=True):
    """The answer to an `Exchange`. Outcomes are committed before tasks are claimed."""

    answers: tuple[Answer, ...]
    """for each outcome"""
    leases: tuple[Lease, ...]
    more: bool
    """the claim stopped early: ask again at once"""
    next_due: Millis | None
    """when the next timer of this store is due: whoever reaches it sweeps"""
    now: Millis
    """the engine's clock"""


class WorkerInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker's presence: for people, and for `why`. No decision reads it."""

    id: str
    agents: tuple[str, ...] = ()
    slots: int = 0
    """tasks that it runs at once; 0 says that it has left"""
    busy: int = 0
    host: str = ""
    pid: int = 0
    started_at: Millis = 0
    seen_at: Millis = 0
    """set by the store"""


class Renewal(msgspec.Struct, frozen=True):
    """The answer for one renewed lease."""

    held: bool
    """False: lost or cancelled; the worker stops the task at once"""
    paused: bool = False
    messages: tuple[Message, ...] = ()
    """the inbox"""


# -- signal, sweep -----------------------------------------------------------------------------------------


class Delivered(msgspec.Struct, frozen=True):
    """The answer to a signal."""

    delivery: Delivery
    detail: str = ""
    """one sentence unless ACCEPTED"""


class TimeToLive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long trees are kept after their root ended, by its final state; milliseconds."""

    done: Millis = 30 * DAY
    failed: Millis = 30 * DAY
    cancelled: Millis = 30 * DAY
    keys: Millis = 30 * DAY
    """idempotency keys, from submission on"""


class Swept(msgspec.Struct, frozen=True):
    """What a sweep did."""

    changed: int
    """timers handled: leases, delays, waits, deadlines, rates, schedules"""
    fired: int
    """tasks submitted by schedules"""
    purged: int
    """trees removed"""
    more: bool
    """`limit` was reached: sweep again"""
    next_due: Millis | None


# -- reads -------------------------------------------------------------------------------------------------


class TaskFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which tasks a list shows; every given field must hold."""

    states: tuple[State, ...] = ()
    agent: str | None = None
    owner: str | None = None
    root: str | None = None
    parent: str | None = None
    tag: str | None = None
    kind: Kind | None = None
    roots_only: bool = False

    def matches(self, task: Task) -> bool:
        """Whether the list shows `task`."""
        return (
            (not self.states or task.state in self.states)
            and self.agent in (None, task.agent)
            and self.owner in (None, task.owner)
            and self.root in (None, task.root)
            and self.parent in (None, task.parent)
            and (self.tag is None or self.tag in task.tags)
            and self.kind in (None, task.kind)
            and (not self.roots_only or task.id == task.root)
        )


class TaskPage(msgspec.Struct, frozen=True):
    """A page of a list, newest first."""

    tasks: tuple[Task, ...]
    cursor: str | None
    """give it to read on; None at the end"""


class EventPage(msgspec.Struct, frozen=True):
    """A page of a feed, oldest first."""

    events: tuple[Event, ...]
    cursor: str
    """give it to read on, also when there were no events; it is never invalidated by reading"""


class AgentLoad(msgspec.Struct, frozen=True):
    """What waits for and runs under one agent name."""

    agent: str
    ready: int
    running: int
    other: int
    """blocked, scheduled, waiting, paused"""
    workers: int
    """live workers that serve it"""


class LimitUse(msgspec.Struct, frozen=True):
    """A limit and how much of it is used."""

    limit: Limit
    used: int
    """slots held now"""
    parked: int
    """ready tasks that it holds back"""
    next_at: Millis
    """the first instant at which its rate allows a claim; 0 without a rate"""


class Why(msgspec.Struct, frozen=True):
    """Why a task does not run."""

    task_id: str
    state: State
    because: tuple[str, ...]
    """sentences, the deciding one first"""
    until: Millis | None = None
    """when time alone will change that"""


# -- hints -------------------------------------------------------------------------------------------------


class Hint(msgspec.Struct, frozen=True):
    """Something was committed that somebody may wait for. May be lost, doubled, late, or about nothing."""

    ready: frozenset[str] = frozenset()
    """agents that have new claimable tasks"""
    tasks: frozenset[str] | None = frozenset()
    """tasks that ended, were paused or got a message; None: unknown ones"""

    def __or__(self, other: Hint) -> Hint:
        """One hint about what both are about."""
        tasks = None if self.tasks is None or other.tasks is None else self.tasks | other.tasks
        return Hint(self.ready | other.ready, tasks)
