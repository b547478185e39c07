"""Following what happens: the events of a task, of an owner or of all, in order, resumable, pushed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Self

from tenuto.client.connection import Connection
from tenuto.client.reading import unknown
from tenuto.stores.base import Hint, Store
from tenuto.tasks.event import STREAMED, Event, EventKind, chosen, is_named

__all__ = ["POLL", "Bell", "Watching"]

POLL = 0.25
"""Seconds after which a feed is read, hinted at or not: what a task tells while it runs has no hint."""

_TOKENS_POLL = 0.075
"""The same for who reads along what a model says."""

_PACE = 0.005
"""Seconds between two reads of one feed that found little: hints on a busy store must not keep it reading."""

_PAGE = 1_000

_FEW = 100
"""Tasks looked at in one go to see whether all have ended."""


class Watching(Connection):
    """Subscriptions."""

    async def subscribe_to_updates(
        self,
        owner_id: str | None = None,
        *,
        task_ids: str | Sequence[str] | None = None,
        event_types: Sequence[EventKind | str] | None = None,
        after: str | None = None,
    ) -> AsyncGenerator[Event]:
        """Yields events as they happen, each task's in order, none left out.

        owner_id, task_ids, event_types: only these; together they all have to hold. A goal's id brings the goal's own
        events; its tasks have theirs. event_types: kinds of events, and what agents that work in turns emit by its
        name: "turn", "call_deferred", "call_answered", and of one with `stream` what the model says while it says it,
        "tokens", "thinking", "tool_args", and "tokens_reset" where that is void.
        after: the `cursor` of the last event that was handled, to go on behind it; None begins with the oldest event
        that is kept; "now" leaves out everything before the call.

        With `task_ids` it ends when all of them have ended and their events were yielded, so that a late subscriber
        gets the outcome too. Without, it goes on until the caller stops. Raises `NotFound` for an unknown task id.
        """
        store = await self._ready()
        ids = (task_ids,) if isinstance(task_ids, str) else tuple(dict.fromkeys(task_ids or ()))
        kinds, names = chosen(event_types or ())
        found = await store.tasks_by_id(ids) if ids else {}
        for task_id in ids:
            if task_id not in found:
                raise unknown(task_id)
        roots = {task.root for task in found.values()}
        one_tree = roots.pop() if len(roots) == 1 else None
        pending = list(ids)
        with Bell(store) as bell:
            while True:
                bell.clear()
                over = bool(ids) and not await _unfinished(store, pending)  # before reading: its events are there then
                while True:
                    page = await store.events(
                        after,
                        task_id=ids[0] if len(ids) == 1 else None,
                        root=one_tree if len(ids) > 1 else None,
                        owner=owner_id,
                        kinds=kinds,
                        limit=_PAGE,
                    )
                    after = page.cursor
                    for event in page.events:
                        if (not ids or event.task_id in found) and is_named(event, names):
                            yield event
                    if not page.events:
                        break
                if over:
                    return
                await bell.wait(_TOKENS_POLL if names & STREAMED else POLL)


async def _unfinished(store: Store, pending: list[str]) -> bool:
    """Whether some of `pending` have not ended; those that have are taken out. Reads few, however many there are."""
    while pending:
        some = pending[-_FEW:]
        tasks = await store.tasks_by_id(some)
        left = [task_id for task_id in some if task_id in tasks and not tasks[task_id].is_final]
        pending[-_FEW:] = left
        if left:
            return True
    return False


class Bell:
    """Rings when something was committed, and when nothing was for some time. Hints come from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._rung = False

    def __enter__(self) -> Self:
        self._stop = self._store.listen(self._hinted)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def clear(self) -> None:
        self._rung = False
        self._event.clear()

    async def wait(self, longest: float) -> None:
        await asyncio.sleep(_PACE)
        try:
            async with asyncio.timeout(longest):
                await self._event.wait()
        except TimeoutError:
            return

    def _hinted(self, hint: Hint) -> None:
        if self._rung or self._loop.is_closed():
            return
        self._rung = True
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # closed in between: nobody listens any more
            return
