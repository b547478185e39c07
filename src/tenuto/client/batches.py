"""How far the children of a task are, counted: those of a batch that it has spawned, or the nodes of a goal."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from tenuto.client.reading import unknown
from tenuto.client.watching import POLL, Bell, Watching
from tenuto.stores.base import Store, TaskFilter
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.states import Status

__all__ = ["BatchProgress", "Batches"]

_STATUS_AFTER: Mapping[EventKind, Status] = {
    EventKind.READY: Status.QUEUED,
    EventKind.STARTED: Status.PROCESSING,
    EventKind.WAITING: Status.PROCESSING,
    EventKind.SCHEDULED: Status.QUEUED,
    EventKind.RELEASED: Status.QUEUED,
    EventKind.LOST: Status.QUEUED,
    EventKind.RETRIED: Status.QUEUED,
    EventKind.DONE: Status.COMPLETED,
    EventKind.FAILED: Status.FAILED,
    EventKind.CANCELLED: Status.CANCELLED,
}
"""What a task is after an event; events that are not here leave it as it was."""

_KINDS = (EventKind.CREATED, *_STATUS_AFTER)

_PAGE = 1_000

_PACE = 0.1
"""Seconds between two looks at a batch in which something happens all the time."""


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How many children of a task are in which status."""

    queued: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """Those that are over, however they ended."""
        return self.completed + self.failed + self.cancelled

    @property
    def total(self) -> int:
        """All that were spawned so far."""
        return self.queued + self.processing + self.ended

    @property
    def fraction(self) -> float:
        """The part that is over, from 0 to 1; 1 where there are no children."""
        return self.ended / self.total if self.total else 1.0


class Batches(Watching):
    """The verbs that count children."""

    async def get_batch_progress(self, task_id: str) -> BatchProgress:
        """How far the children of a task are, or the nodes of a goal. Reads all of them. Raises `NotFound`."""
        store = await self._ready()
        if await store.task(task_id) is None:
            raise unknown(task_id)
        return _counted(await _children(store, task_id))

    async def follow_batch(self, task_id: str) -> AsyncGenerator[BatchProgress]:
        """Yields how far the children of a task are: at once, and again when that has changed, a few times a second at
        most. Ends with what it was when the task itself has ended. Raises `NotFound`.

        Reads all children once, and from then on only what happens to them.
        """
        store = await self._ready()
        parent = await store.task(task_id)
        if parent is None:
            raise unknown(task_id)
        root = parent.root
        cursor = (await store.events("now", root=root)).cursor
        children = await _children(store, task_id)
        told: BatchProgress | None = None
        with Bell(store) as bell:
            while True:
                bell.clear()
                parent = await store.task(task_id)  # before reading: what happened until its end is there then
                cursor = await _catch_up(store, cursor, root, task_id, children)
                if (now := _counted(children)) != told:
                    told = now
                    yield now
                if parent is None or parent.is_final:
                    return
                await asyncio.sleep(_PACE)
                await bell.wait(POLL)


async def _children(store: Store, task_id: str) -> dict[str, Status]:
    children: dict[str, Status] = {}
    cursor: str | None = None
    while True:
        page = await store.tasks(TaskFilter(parent=task_id), cursor, _PAGE)
        children.update((child.id, child.status) for child in page.tasks)
        cursor = page.cursor
        if cursor is None:
            return children


async def _catch_up(store: Store, cursor: str, root: str, parent: str, children: dict[str, Status]) -> str:
    """Brings `children` up to what has happened in their tree since `cursor`; the cursor from there on."""
    while True:
        page = await store.events(cursor, root=root, kinds=_KINDS, limit=_PAGE)
        await _take_in(store, parent, children, page.events)
        cursor = page.cursor
        if len(page.events) < _PAGE:
            return cursor


async def _take_in(store: Store, parent: str, children: dict[str, Status], events: tuple[Event, ...]) -> None:
    created = [each.task_id for each in events if each.kind is EventKind.CREATED and each.task_id not in children]
    if created:
        found = await store.tasks_by_id(created)
        children.update((task.id, task.status) for task in found.values() if task.parent == parent)
    for event in events:
        if event.kind in _STATUS_AFTER and event.task_id in children:
            children[event.task_id] = _STATUS_AFTER[event.kind]


def _counted(children: Mapping[str, Status]) -> BatchProgress:
    return BatchProgress(**{status.value: count for status, count in Counter(children.values()).items()})
