"""What the tests of workers share: a store with a clock that can be moved, and a store that is cut off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tenuto.errors import StoreClosed
from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis
from tenuto.tasks.goal import Tree
from tenuto.tasks.states import State
from tenuto.tasks.task import Task, TaskSpec
from tenuto.workers.config import MaintenanceWorkerConfig, WorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.worker import Worker

LIMIT = 60.0
"""Seconds after which a test has waited long enough."""


class Clock:
    """The wall clock, which tests can move forward."""

    def __init__(self) -> None:
        self.ahead: Millis = 0

    def __call__(self) -> Millis:
        return time.time_ns() // 1_000_000 + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += round(seconds * 1000)


class CutStore:
    """A store as a worker sees it whose connection is cut at its n-th request: before it arrives, or before the answer.

    From then on every request fails for good, which ends the worker as a crash would: nothing is handed back.
    """

    def __init__(self, store: Store, after: int, *, answered: bool) -> None:
        self._store = store
        self._left = after
        self._answered = answered
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("commit_and_claim", "record", "journal", "tasks_by_id", "blobs", "transact", "inbox"):
            return found

        async def request(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self.cut or (self._left < 0 and not self._answered):
                self.cut = True
                raise StoreClosed("cut off")
            answer = await found(*args, **kwargs)
            if self._left < 0:
                self.cut = True
                raise StoreClosed("cut off")
            return answer

        return request


CONFIG = WorkerConfig(concurrency=10, lease=30, grace=2, poll=0.05, maintenance=MaintenanceWorkerConfig(interval=0.05))


@asynccontextmanager
async def working(store: Store, *handlers: Handler, config: WorkerConfig = CONFIG) -> AsyncIterator[Worker]:
    """A worker that runs inside the block, and is drained at its end."""
    worker = Worker(store, handlers, config)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.drain()
        await running


async def crashed(store: Store, task_id: str, handlers: Sequence[Handler], after: int, answered: bool) -> bool:
    """Runs a worker that is cut off after `after` requests; False when the task was done before."""
    cut = CutStore(store, after, answered=answered)
    worker = Worker(cut, handlers, CONFIG)
    running = asyncio.create_task(worker.run())
    while not running.done():
        task = await store.task(task_id)
        if task is not None and task.is_final:
            worker.drain()
        await asyncio.wait([running], timeout=0.001)
    error = running.exception()
    assert error is None or isinstance(error, StoreClosed)
    await store.drop_limit("none")  # behind whatever the worker still had on its way: a claim would hold for its lease
    return cut.cut


async def submit(store: Store, *specs: TaskSpec) -> list[str]:
    """Submits single tasks; their ids."""
    return [each.task_id for each in await store.submit([Tree(spec) for spec in specs])]


async def eventually(what: Callable[[], Awaitable[Any]], limit: float = LIMIT) -> Any:
    """The first answer of `what` that is true."""
    async with asyncio.timeout(limit):
        while not (found := await what()):  # noqa: ASYNC110 - the store is what it asks
            await asyncio.sleep(0.003)
        return found


async def ended(store: Store, task_id: str) -> Task:
    """The task when it has ended."""
    return await until(store, task_id, lambda task: task.is_final)


async def until(store: Store, task_id: str, true: Callable[[Task], bool]) -> Task:
    """The task when `true` holds for it."""

    async def look() -> Task | None:
        task = await store.task(task_id)
        return task if task is not None and true(task) else None

    found: Task = await eventually(look)
    return found


def waits(task: Task) -> bool:
    return task.state is State.WAITING


async def kinds(store: Store, task_id: str) -> Sequence[str]:
    """The kinds of the task's events, in order."""
    return [event.kind.value for event in (await store.events(task_id=task_id)).events]
