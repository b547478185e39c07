"""One attempt at one task: from the lease to the outcome.

What the function does decides the outcome:

    it returns                               DONE, with the result as JSON
    it raises                                RETRY after a delay, or FAILED: the task's retry policy decides
    it raises what is on record as a step's
    outcome                                  FAILED: it would be the same in every attempt
    it waits (`Suspended`)                   WAIT
    the task is paused                       RELEASE
    its journal does not fit, or a step's
    effect is unknown                        RELEASE, and paused with the reason
    its attempt's time limit was reached     as if it had raised `TimeLimit`
    its own time limit or deadline was       FAILED
    the lease was lost, or the task
    cancelled                                RELEASE, which the store refuses as stale: it only frees the task's slots
    the worker drains                        RELEASE

An attempt always has an outcome: what holds slots must say that it has let go.
"""

from __future__ import annotations

import asyncio
import math
import time
from enum import StrEnum

from msgspec import Raw
from msgspec.structs import replace

from tenuto.errors import (
    InvalidPayload,
    JournalMismatch,
    LeaseLost,
    StepUnknown,
    TenutoError,
    TimeLimit,
    Unstorable,
)
from tenuto.observability.logging import logger
from tenuto.tasks.blobs import apart, references
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Ending, Outcome
from tenuto.tasks.retry import Verdict
from tenuto.tasks.task import ErrorRecord
from tenuto.tasks.values import encode
from tenuto.workers.context import Context
from tenuto.workers.failures import describe, describe_end, step_behind
from tenuto.workers.handler import Handler, retry_of
from tenuto.workers.interruption import HandedBack, Suspended, is_ctrl_c
from tenuto.workers.services import Services

__all__ = ["Execution", "Stop"]

log = logger("tenuto.workers")

_STUBBORN = 5.0
"""Seconds that a stopped attempt gets to end before its worker gives it up."""
_SHOWN = 300
"""Characters of an error that the log shows; all of it is in the store."""


class Stop(StrEnum):
    """Why a worker stops an attempt before its own end."""

    LEASE_LOST = "lease lost"
    """or the task was cancelled, or the lease is about to end without an answer from the store"""
    ATTEMPT_LIMIT = "attempt limit"
    TASK_LIMIT = "task limit"
    """the total time limit, or the deadline"""
    DRAINING = "draining"


class Execution:
    """One attempt, claimed ahead or running. The worker keeps its times, all by the monotonic clock."""

    __slots__ = (
        "cause",
        "claimed",
        "context",
        "fatal",
        "handler",
        "lease",
        "limit",
        "limit_at",
        "started",
        "stubborn_at",
        "task",
        "until",
    )

    def __init__(self, lease: Lease, handler: Handler, services: Services, sent: float) -> None:
        self.lease = lease
        self.handler = handler
        self.context = Context(lease, services, handler.version)
        self.task: asyncio.Task[None] | None = None
        """set while it runs"""
        self.started = False
        """its task has had its first moment: one that is cancelled before that never gets any"""
        self.claimed = sent
        """when its claim was sent"""
        self.until = sent + services.lease / 1000
        """when the lease ends at the earliest"""
        self.limit_at = math.inf if lease.time_left is None else time.monotonic() + lease.time_left / 1000
        """when a time limit ends the attempt; counted from now: it has passed by the engine's clock too"""
        self.limit = Stop.TASK_LIMIT
        """which one"""
        self.cause: Stop | None = None
        self.stubborn_at = math.inf
        """when an attempt that was stopped is given up"""
        self.fatal: BaseException | None = None
        """what must end the worker too"""

    def begin(self) -> None:
        """The attempt starts now: its own time limit counts from here."""
        limit = self.lease.attempt_timeout
        if limit is not None and (at := time.monotonic() + limit / 1000) < self.limit_at:
            self.limit_at = at
            self.limit = Stop.ATTEMPT_LIMIT

    def stop(self, cause: Stop) -> float:
        """Interrupts the attempt, and returns by when it must have ended. The first cause counts, except that a lost
        lease always does."""
        if self.cause is None or cause is Stop.LEASE_LOST:
            self.cause = cause
        if self.stubborn_at == math.inf:
            self.stubborn_at = time.monotonic() + _STUBBORN
        if self.task is not None and self.started:
            self.task.cancel()
        return self.stubborn_at

    def release(self) -> Outcome:
        """Hands the task back. When it is not held any more, this only says that its worker has let go."""
        return Outcome(self.lease.hold, Ending.RELEASE)

    async def run(self) -> Outcome:
        """Carries out the attempt. Returns its outcome, whatever happens."""
        self.started = True
        outcome = await (self._attempt() if self.cause is None else self._ended_by(asyncio.CancelledError()))
        if self.context.keeps_journal:
            try:
                await self.context.journal.quiet()
            except asyncio.CancelledError:
                if self.cause is not None:
                    return self.release()
        self._log(outcome)
        return outcome

    def _log(self, outcome: Outcome) -> None:
        """Who reads the worker's log hears of each attempt that fails, long before the last one has."""
        error, lease = outcome.error, self.lease
        if error is None:
            return
        why = " ".join(f"{error.type}: {error.message}".split())[:_SHOWN]
        about = {"task": lease.task_id, "agent": lease.agent, "attempt": lease.attempt, "why": why}
        if outcome.ending is Ending.RETRY:
            log.warning("an attempt has failed", **about, next_in_s=outcome.delay / 1000)
        else:
            log.warning("a task has failed", **about)

    async def _attempt(self) -> Outcome:
        lease, context = self.lease, self.context
        try:
            if lease.steps:
                await context.journal.load()
            if references(payload := bytes(lease.payload)):
                lease = replace(lease, payload=Raw(await context.journal.whole(payload)))
            result = await self.handler.handle(context, lease)
            if context.keeps_journal:
                journal = context.journal
                if (halt := journal.halt or journal.root.suspended) is not None:
                    raise halt
                journal.leftover()
            if self.cause is Stop.LEASE_LOST:
                return self.release()
            return self._done(result)
        except BaseException as error:  # noqa: BLE001 - an attempt has an outcome, whatever happens
            return await self._ended_by(error)

    def _done(self, result: object) -> Outcome:
        hold = self.lease.hold
        try:
            data = encode(result, f"the result of task {hold.task_id!r}")
        except Unstorable as error:
            return Outcome(hold, Ending.FAILED, error=describe(error))
        stored, blobs = apart(data)
        return Outcome(hold, Ending.DONE, Raw(stored), blobs=blobs)

    async def _ended_by(self, error: BaseException) -> Outcome:
        if self.context.keeps_journal:
            journal = self.context.journal
            error = journal.halt or journal.root.suspended or error
        if is_ctrl_c(error):
            self.fatal = error
            return self.release()
        if self.cause in (Stop.LEASE_LOST, Stop.DRAINING) or (self.cause is None and _cancelled_from_outside(error)):
            return self.release()
        if self.cause is Stop.TASK_LIMIT:
            return await self._expired()
        if self.cause is Stop.ATTEMPT_LIMIT:
            limit = (self.lease.attempt_timeout or 0) / 1000
            return self._failure(TimeLimit(f"the attempt took longer than its time limit of {limit:g} s"))
        return self._judged(error)

    def _judged(self, error: BaseException) -> Outcome:
        hold = self.lease.hold
        match error:
            case Suspended():
                return Outcome(hold, Ending.WAIT, wait=error.wait)
            case HandedBack():
                return Outcome(hold, Ending.RELEASE, pause=error.pause)
            case JournalMismatch() | StepUnknown():
                return Outcome(hold, Ending.RELEASE, pause=str(error))
            case LeaseLost() if self.context.keeps_journal and error is self.context.journal.halt:
                return self.release()
            case InvalidPayload():
                return Outcome(hold, Ending.FAILED, error=describe_end(error, hold.task_id))
        return self._failure(error)

    def _failure(self, error: BaseException) -> Outcome:
        lease = self.lease
        step = step_behind(error, lease.task_id)
        if step is not None:
            return Outcome(lease.hold, Ending.FAILED, error=_lasting(error, lease.task_id, step))
        policy = lease.retry or retry_of(self.handler) or self.context.services.retry
        grew = self.context.keeps_journal and self.context.journal.grew
        failures = (0 if grew else lease.failures) + 1
        verdict, record = policy.verdict(error), describe_end(error, lease.task_id)
        delay = policy.delay(lease.task_id, lease.attempt, failures)
        if isinstance(error, TenutoError):
            if not error.retryable:
                return Outcome(lease.hold, Ending.FAILED, error=record)
            delay = max(delay, round((error.retry_after or 0) * 1000))
        if verdict is Verdict.EXCUSED:
            return Outcome(lease.hold, Ending.RETRY, error=record, delay=delay, excused=True)
        if verdict is Verdict.FATAL or failures > policy.max_retries:
            return Outcome(lease.hold, Ending.FAILED, error=record)
        return Outcome(lease.hold, Ending.RETRY, error=record, delay=delay)

    async def _expired(self) -> Outcome:
        """The task's total time limit or its deadline has passed; only the store knows which."""
        store, task_id = self.context.services.store, self.lease.task_id
        try:
            task = await self.context.services.patience.ask(lambda: store.task(task_id), "task")
        except asyncio.CancelledError:
            return self.release()
        missed = task is not None and task.deadline is not None and task.deadline <= (task.expires_at or task.deadline)
        if missed:
            record = ErrorRecord("Deadline", "its deadline has passed")
        else:
            limit = 0 if task is None or task.timeout is None else task.timeout
            record = ErrorRecord("TimeLimit", f"it used up its total time limit of {limit / 1000:g} s")
        return Outcome(self.lease.hold, Ending.FAILED, error=record)


def _lasting(error: BaseException, task_id: str, step: str) -> ErrorRecord:
    """The record of an error that no further attempt would change."""
    record = describe_end(error, task_id)
    said = (
        f"{record.message} (this is on record as the outcome of step {step!r}, so trying the task again would not help:"
        f" resolve_step({task_id!r}, {step!r}, 'retry' or 'done') changes that, then retry the task)"
    )
    return replace(record, message=said)


def _cancelled_from_outside(error: BaseException) -> bool:
    """Whether the event loop is being shut down; a function may also raise `CancelledError` of its own accord."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
