"""Keeping leases: renewing them in time, and giving up in time where that fails.

Every hold of a worker, running or claimed ahead, is renewed together, three times per lease. A lease counts from the
moment its request was *sent*: the answer may have been slow, but the engine cannot have started counting earlier than
that. A task whose lease is nearly over without an answer is stopped: the engine may give it to somebody else, and two
workers on one task is what leases exist to prevent.

One alarm watches all ends (leases, time limits, attempts that do not react to being stopped), so tasks need no timers
of their own. It is set to the earliest end and looks at all holds when it rings, a few hundred at most.

A hint that names a held task (it was cancelled, paused, or got a message) renews that task at once: a cancel interrupts
within milliseconds, not at the next renewal.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from tenuto.errors import StoreError
from tenuto.observability.logging import logger
from tenuto.stores.base import Renewal, Store, WorkerInfo
from tenuto.workers.execution import Execution, Stop
from tenuto.workers.patience import passes

__all__ = ["Keeper", "KeptBy"]

log = logger("tenuto.worker")

_PRESENCE = 20.0
"""Seconds within which a worker shows itself to the store even when it holds nothing."""
_QUIET = 0.1
"""Seconds between two renewals of everything that hints ask for without naming tasks."""


class KeptBy(Protocol):
    """What the keeper needs of the worker's slots."""

    @property
    def held(self) -> Mapping[str, Execution]:
        """All holds, by task."""

    @property
    def replaced(self) -> Collection[Execution]:
        """Attempts that were stopped and have not returned, at tasks that are held anew."""

    def stop(self, execution: Execution, cause: Stop) -> None:
        """Stops an attempt, or hands back a task that was claimed ahead."""

    def abandon(self, execution: Execution) -> None:
        """An attempt does not react to being stopped: its slot is lost until it ends."""


class Keeper:
    """Renews the leases of one worker and watches their ends."""

    def __init__(self, store: Store, info: Callable[[], WorkerInfo], lease: float) -> None:
        """`info` tells of the worker's presence; `lease` in seconds."""
        self._store = store
        self._info = info
        self._slots: KeptBy | None = None
        self._lease = lease
        self._period = min(lease / 3, _PRESENCE)
        self._margin = min(lease / 10, 1.0)
        self._named: set[str] = set()
        self._all = False
        self._asked = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf

    def look(self, named: set[str] | None) -> None:
        """Somebody did something to these tasks; None: to unknown ones."""
        if named is None:
            self._all = True
        else:
            self._named |= named
        self._asked.set()

    def watch(self, end: float) -> None:
        """Something ends at `end`, by the monotonic clock."""
        if end < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = end
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_at(loop.time() + end - time.monotonic(), self._ring)

    def watch_lease(self, until: float) -> None:
        """A lease ends at `until`."""
        self.watch(until - self._margin)

    async def run(self, slots: KeptBy) -> None:
        """Renews what `slots` hold until it is cancelled. Raises errors of the store that do not pass by waiting."""
        self._slots = slots
        try:
            while True:
                started = time.monotonic()
                answered = await self._renew(slots, list(slots.held.values()))
                wait = self._period if answered else min(self._period, self._lease / 20)
                await self._serve_until(slots, started + wait)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    async def _serve_until(self, slots: KeptBy, end: float) -> None:
        """Renews what hints name, until it is time to renew everything."""
        quiet_until = time.monotonic() + _QUIET
        while (left := end - time.monotonic()) > 0:
            if self._all:
                end = min(end, quiet_until)
                left = min(left, max(quiet_until - time.monotonic(), 0.0))
            try:
                async with asyncio.timeout(left):
                    await self._asked.wait()
            except TimeoutError:
                break
            self._asked.clear()
            named, self._named = self._named, set()
            held = slots.held
            if found := [held[task_id] for task_id in named if task_id in held]:
                await self._renew(slots, found)
        self._all = False

    async def _renew(self, slots: KeptBy, kept: Sequence[Execution]) -> bool:
        sent = time.monotonic()
        holds = [each.lease.hold for each in kept]
        try:
            async with asyncio.timeout(self._period):
                answers = await self._store.renew(self._info(), holds, round(self._lease * 1000))
        except (StoreError, OSError) as error:
            if not passes(error):
                raise
            log.warning("leases could not be renewed", worker=self._info().id, why=str(error) or "no answer")
            return False
        for execution, answer in zip(kept, answers, strict=True):
            self._heard(slots, execution, answer, sent)
        return True

    def _heard(self, slots: KeptBy, execution: Execution, answer: Renewal, sent: float) -> None:
        if not answer.held:
            if slots.held.get(execution.lease.task_id) is execution:
                slots.stop(execution, Stop.LEASE_LOST)
            return
        execution.until = max(execution.until, sent + self._lease)
        if answer.paused:
            execution.context.journal.pause()
        if answer.messages:
            execution.context.journal.inbox.receive(answer.messages)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        now, earliest = time.monotonic(), math.inf
        if (slots := self._slots) is None:
            return
        for execution in [*slots.held.values(), *slots.replaced]:
            earliest = min(earliest, self._next_end(slots, execution, now))
        if earliest < math.inf:
            self.watch(max(earliest, now + 0.001))

    def _next_end(self, slots: KeptBy, execution: Execution, now: float) -> float:
        """Does what is due for one hold, and says when the next thing is."""
        if execution.stubborn_at <= now:
            slots.abandon(execution)
            return math.inf
        lease_end = execution.until - self._margin
        if lease_end <= now and execution.cause is not Stop.LEASE_LOST:
            log.warning("a lease is about to end and could not be renewed", task=execution.lease.task_id)
            slots.stop(execution, Stop.LEASE_LOST)
        elif execution.limit_at <= now and execution.cause is None:
            slots.stop(execution, execution.limit)
        if execution.cause is not None:
            return (
                execution.stubborn_at if execution.cause is Stop.LEASE_LOST else min(execution.stubborn_at, lease_end)
            )
        return min(lease_end, execution.limit_at)
