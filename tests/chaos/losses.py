"""What a crash may lose: how much of what was answered is gone afterwards, for each setting of each engine.

A load submits tasks one by one, claims and completes them, and notes when each was acknowledged. Then the server
crashes, and comes back as the setting lets it: with its disk, with a disk that lost its last second, or as a replica
that has been promoted. The load goes on. Afterwards its notes are compared with the store.

    make chaos ARGS="--losses"

What is promised is asserted, the rest is measured. In every setting: no task is completed twice after the crash, no
report under a hold that was lost with the tail is accepted, and a reader that goes on behind its cursor sees everything
that happened after the crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from tenuto.stores import open_store
from tenuto.stores.base import Claim, Exchange, Store, TimeToLive
from tenuto.tasks.goal import Tree
from tenuto.tasks.ids import new_id
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Ending, Outcome
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tenuto.workers.patience import Patience
from tests.chaos.crashes import CRASHES, Crash

__all__ = ["Losses", "measure_losses"]

T = TypeVar("T")

_SUBMITTERS = 4
_WORKERS = 2
_BATCH = 8
_LEASE = 1_000
_AFTERWARDS = 0.5
"""Seconds for which the load goes on when the server is back."""
_PATIENCE = 100.0
"""Seconds in which everything must have ended."""


@dataclass
class Losses:
    """What came of one crash."""

    setting: str
    promised: float | None
    """seconds before the crash from which on acknowledged work may be lost; None: nothing is promised"""
    submitted: int = 0
    """acknowledged before the crash"""
    completed: int = 0
    """acknowledged before the crash"""
    lost_tasks: int = 0
    lost_completions: int = 0
    """of tasks that are there"""
    oldest: float = 0.0
    """seconds that the oldest loss had been acknowledged before the crash"""
    away: float = 0.0
    """seconds until the store answered again"""
    stale: int = 0
    """reports that were refused"""
    violations: list[str] = field(default_factory=list)


async def measure_losses(setting: str, seconds: float) -> Losses:
    """Crashes the server of a setting of `CRASHES` after so many seconds of load, and compares."""
    with contextlib.closing(await asyncio.to_thread(CRASHES[setting])) as crash:
        losses = Losses(setting, crash.promised)
        await _Load(crash, losses).run(seconds)
    return losses


class _Load:
    def __init__(self, crash: Crash, losses: Losses) -> None:
        self.crash, self.losses = crash, losses
        self.submitted: dict[str, float] = {}
        """when each task was acknowledged"""
        self.completed: dict[Hold, float] = {}
        """when each accepted completion was"""
        self.seen: set[tuple[str, int, int]] = set()
        """events that the reader saw"""
        self.cursor: str | None = None
        self.stopping = asyncio.Event()
        self.drained = asyncio.Event()
        self.name = new_id("load")

    async def run(self, seconds: float) -> None:
        stores = [open_store(self.crash.url) for _ in range(3)]
        for store in stores:
            await store.open()
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(_SUBMITTERS):
                    group.create_task(self._submit(stores[0], number))
                workers = [group.create_task(self._work(stores[1], number)) for number in range(_WORKERS)]
                reader = group.create_task(self._read(stores[2]))
                await asyncio.sleep(seconds)
                struck = time.monotonic()
                await asyncio.to_thread(self.crash.strike)
                await self._ask(stores[2].stats, "look")
                self.losses.away = time.monotonic() - struck
                await asyncio.sleep(_AFTERWARDS)
                self.stopping.set()
                await self._drain(stores[2])
                self.drained.set()
                await asyncio.wait(workers)
                await reader
            await self._compare(stores[2], struck)
        finally:
            for store in stores:
                await store.close()

    async def _submit(self, store: Store, number: int) -> None:
        count = 0
        while not self.stopping.is_set():
            count += 1
            spec = TaskSpec(id=f"{self.name}-{number}-{count}", agent="load")
            await self._ask(functools.partial(store.submit, [Tree(spec)]), "submit")
            self.submitted[spec.id] = time.monotonic()

    async def _work(self, store: Store, number: int) -> None:
        """Holds what it claims for a moment, so that a crash finds leases."""
        held: list[Hold] = []
        name, count = new_id(f"load-{number}"), 0
        while not self.drained.is_set() or held:
            count += 1
            outcomes = tuple(Outcome(hold, Ending.DONE, result=msgspec.Raw(b"{}")) for hold in held)
            exchange = Exchange(name, count, outcomes, Claim(("load",), _BATCH, _LEASE))
            exchanged = await self._ask(functools.partial(store.commit_and_claim, exchange), "work")
            now = time.monotonic()
            for hold, answer in zip(held, exchanged.answers, strict=True):
                if answer is Answer.STALE:
                    self.losses.stale += 1
                else:
                    self.completed[hold] = now
            held = [lease.hold for lease in exchanged.leases]
            await asyncio.sleep(0.005)

    async def _read(self, store: Store) -> None:
        """Follows the feed, and goes on behind its cursor whatever happened to the store."""
        while True:
            last = self.drained.is_set()
            page = await self._ask(functools.partial(store.events, self.cursor, limit=1_000), "read")
            self.seen |= {(event.task_id, event.seq, event.at) for event in page.events}
            self.cursor = page.cursor
            if last and not page.events:
                return
            await asyncio.sleep(0 if page.events else 0.01)

    async def _drain(self, store: Store) -> None:
        """Waits until every task that is there is done."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            await self._ask(functools.partial(store.sweep, 1_000, TimeToLive()), "sweep")
            stats = await self._ask(store.stats, "look")
            if sum(stats.values()) == stats.get(State.DONE, 0):
                return
            if time.monotonic() > deadline:
                self.losses.violations.append(f"not everything has ended after {_PATIENCE:g} s: {dict(stats)}")
                return
            await asyncio.sleep(0.02)

    async def _compare(self, store: Store, struck: float) -> None:
        losses = self.losses
        tasks = await store.tasks_by_id(tuple(self.submitted))
        gone = {task_id: at for task_id, at in self.submitted.items() if task_id not in tasks}
        undone: dict[Hold, float] = {}
        after: dict[str, int] = defaultdict(int)
        for hold, at in self.completed.items():
            task = tasks.get(hold.task_id)
            if at > struck + losses.away:  # a crash takes a moment, in which what is answered may still be lost
                after[hold.task_id] += 1
            if task is not None and (task.state is not State.DONE or (task.attempt, task.nonce) != hold[1:]):
                undone[hold] = at
        losses.submitted = sum(at <= struck for at in self.submitted.values())
        losses.completed = sum(at <= struck for at in self.completed.values())
        losses.lost_tasks, losses.lost_completions = len(gone), len(undone)
        lost = [*gone.values(), *undone.values()]
        losses.oldest = max([struck - at for at in lost], default=0.0)
        if lost and losses.promised is not None and losses.oldest > losses.promised:
            losses.violations.append(
                f"{losses.oldest:.2f} s before the crash something was acknowledged that is lost, and "
                f"{losses.promised:g} s are promised"
            )
        if lost and losses.promised == 0.0:
            losses.violations.append(f"nothing may be lost, and {len(gone)} tasks and {len(undone)} completions are")
        losses.violations += [
            f"{task_id} was completed {count} times after the crash" for task_id, count in after.items() if count > 1
        ]
        if any(at > struck + losses.away for at in lost):
            losses.violations.append("something is lost that was acknowledged after the crash")
        await self._check_feed(store)

    async def _check_feed(self, store: Store) -> None:
        missed = 0
        page = await store.events(limit=1_000)
        while page.events:
            missed += sum((event.task_id, event.seq, event.at) not in self.seen for event in page.events)
            page = await store.events(page.cursor, limit=1_000)
        if missed:
            self.losses.violations.append(f"the reader went on behind its cursor, and has missed {missed} events")

    @staticmethod
    async def _ask(request: Callable[[], Awaitable[T]], what: str) -> T:
        return await Patience("load").ask(request, what)
