"""Waiting for tasks to end: pushed by the store's hints, never polled task by task.

However many wait, there is one listener for the client, and on each event loop one task that reads what was hinted
at, all of it in one go. A hint may be lost, so everything that is waited for is looked at once per `POLL` besides.

A waiter registers before the first look, and the look is at what is stored: an end cannot fall in between.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial

from tenuto.errors import NotFound, StoreClosed, WaitTimeout
from tenuto.stores.base import Hint, Store
from tenuto.tasks.task import Task

__all__ = ["POLL", "Endings"]

POLL = 1.0
"""Seconds after which everything that is waited for is read, hinted at or not."""

_MOST_READ = 1_000
"""Tasks read in one go."""


class Endings:
    """Who waits for the end of which task, on every event loop of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._loops: dict[asyncio.AbstractEventLoop, _Waiters] = {}
        self._stop: Callable[[], None] | None = None
        self._hopeless: BaseException | None = None

    def fail(self, error: BaseException | None) -> None:
        """Whoever waits gets `error`, and whoever comes later: nobody is left here who would do the work. None: that is
        over. May be called from any thread."""
        with self._lock:
            self._hopeless = error
            loops = list(self._loops.values())
        if error is not None:
            for waiters in loops:
                waiters.call(partial(waiters.give_up, error))

    async def ended(self, task_id: str, timeout: float | None) -> Task:
        """The task `task_id` once it is final, within `timeout` seconds.

        Raises `NotFound` when there is no such task (any more), `WaitTimeout`, what the store raises, and what `fail`
        was given, unless the task has ended already.
        """
        if self._hopeless is not None:
            task = (await self._store.tasks_by_id([task_id])).get(task_id)
            if task is None or not task.is_final:
                raise self._hopeless
        waiters = self._here()
        future = waiters.add(task_id)
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await future
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(f"task {task_id!r} has not finished within {timeout:g} s; it goes on") from None
        finally:
            waiters.remove(task_id, future)
            if not waiters.waiting:
                with self._lock:
                    self._loops.pop(waiters.loop, None)

    def close(self) -> None:
        """Whoever still waits gets `StoreClosed`."""
        with self._lock:
            stop, self._stop = self._stop, None
            loops = list(self._loops.values())
        if stop is not None:
            stop()
        error = StoreClosed("the client was closed while a result was waited for")
        for waiters in loops:
            waiters.call(partial(waiters.give_up, error))

    def _here(self) -> _Waiters:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._stop is None:
                self._stop = self._store.listen(self._hinted)
            waiters = self._loops.get(loop)
            if waiters is None:
                waiters = self._loops[loop] = _Waiters(self._store, loop)
            return waiters

    def _hinted(self, hint: Hint) -> None:
        if hint.tasks is not None and not hint.tasks:
            return
        for waiters in list(self._loops.values()):  # no lock here: the engine may hold its own while it hints
            waiters.hinted(hint)


class _Waiters:
    """Those of one event loop. All but `hinted` and `call` runs on that loop."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: dict[str, set[asyncio.Future[Task]]] = {}
        self._store = store
        self._unread: set[str] = set()
        self._woken = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    def add(self, task_id: str) -> asyncio.Future[Task]:
        future: asyncio.Future[Task] = self.loop.create_future()
        self.waiting.setdefault(task_id, set()).add(future)
        self._look([task_id])
        if self._reader is None or self._reader.done():
            self._reader = self.loop.create_task(self._read(), name="tenuto: results")
        return future

    def remove(self, task_id: str, future: asyncio.Future[Task]) -> None:
        futures = self.waiting.get(task_id, set())
        futures.discard(future)
        if not futures:
            self.waiting.pop(task_id, None)
        if not self.waiting:
            self._woken.set()  # lets the reader end

    def hinted(self, hint: Hint) -> None:
        """From any thread."""
        found = list(self.waiting) if hint.tasks is None else [each for each in hint.tasks if each in self.waiting]
        if found:
            self.call(lambda: self._look(found))

    def call(self, function: Callable[[], None]) -> None:
        """Runs `function` on the loop, from any thread; not at all when the loop is closed."""
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def give_up(self, error: BaseException) -> None:
        self._settle(list(self.waiting), error)

    def _look(self, task_ids: Sequence[str]) -> None:
        self._unread.update(task_ids)
        self._woken.set()

    async def _read(self) -> None:
        while self.waiting:
            try:
                async with asyncio.timeout(POLL):
                    await self._woken.wait()
            except TimeoutError:
                self._unread.update(self.waiting)
            self._woken.clear()
            wanted = [each for each in self._unread if each in self.waiting]
            self._unread.clear()
            for start in range(0, len(wanted), _MOST_READ):
                await self._read_some(wanted[start : start + _MOST_READ])

    async def _read_some(self, task_ids: Sequence[str]) -> None:
        try:
            tasks = await self._store.tasks_by_id(task_ids)
        except Exception as error:  # noqa: BLE001 - handed to everyone who waits for what could not be read
            self._settle(task_ids, error)
            return
        for task_id in task_ids:
            task = tasks.get(task_id)
            if task is None:
                self._settle([task_id], NotFound(f"there is no task {task_id!r}, or it was removed after its end"))
            elif task.is_final:
                self._settle([task_id], task)

    def _settle(self, task_ids: Sequence[str], with_what: Task | BaseException) -> None:
        for task_id in task_ids:
            for future in self.waiting.get(task_id, ()):
                if future.done():
                    continue
                if isinstance(with_what, BaseException):
                    future.set_exception(with_what)
                else:
                    future.set_result(with_what)
