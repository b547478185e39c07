"""What a worker reports: outcomes of attempts, and steps of journals.

The worker decides (it knows the exception and the policy), the engine checks the lease and applies.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tenuto.tasks.clock import Millis
from tenuto.tasks.lease import Hold
from tenuto.tasks.money import Refusal, Reserve, Settle
from tenuto.tasks.task import ErrorRecord, TaskSpec
from tenuto.tasks.waits import Wait

__all__ = ["Answer", "Ending", "Outcome", "Record", "Recorded", "Step", "StepState"]


class Ending(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    FAILED = "failed"
    RETRY = "retry"
    """failed, and is tried again after `delay`"""
    WAIT = "wait"
    RELEASE = "release"
    """handed back unharmed: a draining worker, a paused task. Counts neither as failure nor as loss"""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one attempt ended."""

    hold: Hold
    ending: Ending
    result: msgspec.Raw | None = None
    """DONE: the result"""
    error: ErrorRecord | None = None
    """FAILED, RETRY"""
    delay: Millis = 0
    """RETRY: milliseconds from now"""
    excused: bool = False
    """RETRY: does not count as a failure"""
    wait: Wait | None = None
    """WAIT"""
    pause: str | None = None
    """RELEASE: also pause the task, for this reason"""
    consumed: tuple[int, ...] = ()
    """inbox numbers whose effect this commit contains"""
    blobs: dict[str, bytes] = {}
    """large values that `result` refers to, by content hash"""


class Answer(StrEnum):
    """What became of an outcome or a record."""

    ACCEPTED = "accepted"
    ALREADY = "already"
    """this very lease has reported before"""
    STALE = "stale"
    """the lease is not the task's present one: lost, cancelled, or long over"""
    INVALID = "invalid"
    """no such task, or the report contradicts itself; nothing was changed"""
    REFUSED = "refused"
    """a record's reservation has no room in a budget or a rate; nothing was changed"""
    UNREAD = "unread"
    """steering has come that the worker of a record had not read (`Record.read`); nothing was changed"""


class StepState(StrEnum):
    """What the journal knows about a step."""

    STARTED = "started"
    """an intent written ahead, for effect="once": it may have happened"""
    DONE = "done"
    FAILED = "failed"
    """ended with an error that the program may catch: the same error is raised again on replay"""


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a task's journal."""

    key: str
    """identity: scope path, name and count, see `workers.journal`"""
    position: int
    """which call of its scope it was, from 0: a program that changed meets its old journal here"""
    state: StepState = StepState.DONE
    value: msgspec.Raw | None = None
    error: ErrorRecord | None = None
    at: Millis = 0
    attempt: int = 0


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """Journal entries of one running task, with what must commit together with them."""

    hold: Hold
    steps: tuple[Step, ...] = ()
    consumed: tuple[int, ...] = ()
    spawned: tuple[TaskSpec, ...] = ()
    """children; their ids follow from the step that spawns them"""
    events: tuple[tuple[str, msgspec.Raw], ...] = ()
    """the task's own events: (name, data). The name "progress" sets the task's progress"""
    blobs: dict[str, bytes] = {}
    settles: tuple[Settle, ...] = ()
    """calls that are over; they make room for `reserves`"""
    reserves: tuple[Reserve, ...] = ()
    """calls that are about to be sent: all of them are granted, or nothing of this record is stored"""
    read: int | None = None
    """how far its worker has read the inbox, where the record is only right if it has read all steering: the number of
    the last message that it knows, 0 for none. None: no matter"""


class Recorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a `Record`."""

    answer: Answer
    paused: bool = False
    """somebody paused the task: it should stop at this step"""
    detail: str = ""
    """why it was INVALID"""
    refused: Refusal | None = None
    """why it was REFUSED"""
