"""The task: what is submitted (`TaskSpec`) and what is stored (`Task`).

A spec never changes. A task is its spec and everything that happened since; the engine replaces it whole,
by the functions of `transitions`. Values (payload, result) are kept as JSON text: the engine never looks inside.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import LATEST, Millis
from tenuto.tasks.ids import check_name, is_name
from tenuto.tasks.money import Budget
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import ACTIVE, FINAL, State, Status, status_of
from tenuto.tasks.values import decode, encode, writable
from tenuto.tasks.waits import Wait

__all__ = ["NULL", "ErrorRecord", "Kind", "Progress", "Task", "TaskSpec", "Unique", "same_content"]

NULL = msgspec.Raw(b"null")
_MOST_TAGS = 64
_FAR = 1_000_000_000


class Kind(StrEnum):
    """What a row is."""

    TASK = "task"
    GOAL = "goal"
    """the root of a DAG; never claimed: it waits for its nodes"""


class Unique(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most one task with `key` may be in one of `states`."""

    key: str
    states: tuple[State, ...] = tuple(sorted(ACTIVE))


class ErrorRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an attempt or a task failed."""

    type: str
    """the exception's class, or one of ours: `Deadline`, `TimeLimit`, `LeaseLost`, `Dependency`"""
    message: str
    traceback: str = ""
    """the last lines"""
    at: Millis = 0
    attempt: int = 0

    def writable(self) -> ErrorRecord:
        """Itself, in text that every engine can store."""
        told, shown, traceback = writable(self.type), writable(self.message), writable(self.traceback)
        return ErrorRecord(told, shown, traceback, self.at, self.attempt)


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a task is."""

    fraction: float | None = None
    """0 to 1"""
    message: str = ""
    at: Millis = 0


class TaskSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A task as it is submitted."""

    id: str
    agent: str = ""
    """who shall run it; empty only for goals"""
    owner: str = ""
    """whose task it is: the unit of fair sharing and of privacy"""
    payload: msgspec.Raw = NULL
    title: str = ""
    """for people; the id where empty"""
    priority: int = 0
    """larger first, inside an owner"""
    band: int = 0
    """set by operators: a lower band is served before any higher one"""
    run_at: Millis | None = None
    """not before this instant"""
    deadline: Millis | None = None
    """failed at this instant if not finished"""
    attempt_timeout: Millis | None = None
    """most milliseconds for one attempt"""
    timeout: Millis | None = None
    """most milliseconds from the first claim to the end, time spent waiting for people not counted"""
    retry: RetryPolicy | None = None
    """None: as the agent that runs it says"""
    idempotency_key: str | None = None
    unique: Unique | None = None
    limits: tuple[str, ...] = ()
    """keys of the `Limit`s it is subject to"""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    budget: Budget | None = None
    """the most that it may use, with all that is below it; without scope and period"""

    def check(self) -> None:
        """Raises `InvalidInput` that names the field which makes no sense. The id is checked by whoever gives it."""
        for field, value in (("agent", self.agent), ("owner", self.owner), ("title", self.title)):
            if value and not is_name(value):  # asked first: to say which field it is takes longer than to look at it
                check_name(value, f"task {self.id!r}: {field}")
        for number in (self.priority, self.band):
            if not _whole(number) or not -_FAR <= number <= _FAR:
                raise InvalidInput(f"task {self.id!r}: priority and band must be whole numbers within ±{_FAR:,}")
        self._check_times()
        if self.idempotency_key is not None:
            check_name(self.idempotency_key, f"task {self.id!r}: idempotency_key")
        if self.unique is not None:
            check_name(self.unique.key, f"task {self.id!r}: unique key")
        if self.tags or self.limits:
            self._check_labels()
        if self.metadata:
            encode(self.metadata, f"the metadata of task {self.id!r}")
        if self.retry is not None:
            self.retry.check()
        if self.budget is not None:
            self.budget.check_own(self.id)

    def _check_labels(self) -> None:
        for field, names in (("tags", self.tags), ("limits", self.limits)):
            if len(names) > _MOST_TAGS:
                raise InvalidInput(f"task {self.id!r}: {len(names)} {field}, more than {_MOST_TAGS}")
        if len(set(self.limits)) < len(self.limits):
            raise InvalidInput(f"task {self.id!r} names a limit twice: {', '.join(self.limits)}")
        for name in (*self.tags, *self.limits):
            check_name(name, f"task {self.id!r}: tag or limit")

    def _check_times(self) -> None:
        for field, at in (("run_at", self.run_at), ("deadline", self.deadline)):
            if at is not None and (not _whole(at) or not 0 <= at <= LATEST):
                raise InvalidInput(f"task {self.id!r}: {field} must lie between 1970 and 9999")
        for field, span in (("attempt_timeout", self.attempt_timeout), ("timeout", self.timeout)):
            if span is not None and (not _whole(span) or not 1 <= span <= 3_155_760_000_000):
                raise InvalidInput(f"task {self.id!r}: {field} must be between 1 ms and 100 years, not {span} ms")


class Task(TaskSpec, frozen=True, omit_defaults=True, kw_only=True):
    """A task as it is stored."""

    kind: Kind = Kind.TASK
    root: str
    parent: str | None = None
    node: str | None = None
    """its name inside its goal"""
    state: State
    paused: bool = False
    reason: str = ""
    """why it is where it is, for people: of a pause, a cancellation, a skip"""
    run: int = 1
    """rises when a finished task is asked to run again"""
    epoch: int = 0
    """rises when it starts over with an empty journal"""
    attempt: int = 0
    """rises at every claim, and limits nothing"""
    failures: int = 0
    """failed attempts in a row; a recorded step resets it"""
    losses: int = 0
    """leases in a row that ended without a word; a recorded step resets it"""
    unmet: int = 0
    """BLOCKED: dependencies not met yet. WAITING: topics of the wait still needed. A goal: nodes that are not final"""
    nonce: int = 0
    """with id and attempt: the fencing token of the latest lease"""
    worker: str = ""
    """the incarnation of the worker that holds it, or held it last"""
    lease_until: Millis | None = None
    """while this is set its limit slots are held; a cancelled task keeps them until its worker has let go"""
    created_at: Millis
    since: Millis
    """when it entered its present state"""
    started_at: Millis | None = None
    """the first claim of this run"""
    finished_at: Millis | None = None
    expires_at: Millis | None = None
    """when the total time limit ends this run"""
    wait: Wait | None = None
    gate: str = ""
    """the limit that holds a ready task back"""
    progress: Progress | None = None
    result: msgspec.Raw | None = None
    error: ErrorRecord | None = None
    """of the last failed attempt"""
    seq: int = 0
    """events so far"""
    steps: int = 0
    """recorded steps"""
    open_calls: int = 0
    """reservations of the present attempt that were not settled, see `money`"""

    @property
    def status(self) -> Status:
        """The coarse status that clients see."""
        return status_of(self.state)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def claimable(self) -> bool:
        """Whether a worker may take it now."""
        return self.state is State.READY and not self.paused and not self.gate

    @property
    def due(self) -> Millis | None:
        """The next instant at which time alone changes this task; None when it never does."""
        if self.lease_until is not None:
            return self.lease_until
        if self.is_final:
            return None
        wait = self.wait
        own: Millis | None = None
        if self.state is State.SCHEDULED:
            own = self.run_at
        elif self.state is State.WAITING and wait is not None:
            own = wait.until
        expires = None if wait is not None and wait.people else self.expires_at
        if own is None and expires is None:
            return self.deadline  # that is so for nearly all
        return min(at for at in (own, expires, self.deadline) if at is not None)


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


_COMPARED = tuple(set(TaskSpec.__struct_fields__) - {"id", "run_at", "deadline", "priority", "metadata"})


def same_content(spec: TaskSpec, stored: TaskSpec) -> bool:
    """Whether submitting `spec` again means the task that is `stored`.

    Id, priority and times do not count: keys are sent again under fresh ids, times follow from the moment of the
    call, and priorities are changed by people.
    """
    return all(getattr(spec, field) == getattr(stored, field) for field in _COMPARED) and (
        spec.metadata == stored.metadata or _as_stored(spec.metadata) == _as_stored(stored.metadata)
    )


def _as_stored(metadata: dict[str, Any]) -> Any:
    return decode(encode(metadata, "metadata"))
