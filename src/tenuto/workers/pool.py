"""Several workers on one machine: on the event loop at hand, in threads, or in processes.

    "async"     all on the caller's event loop: for tasks that mostly wait
    "thread"    each on an event loop of its own, in a thread
    "process"   each in a process of its own (`child`): for tasks that compute; each opens the store by its URL

A worker that ends although nobody asked it to is started again, after a delay that doubles from 0.1 to 30 seconds while
it keeps ending early. Only errors of the store that do not pass by waiting end the pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, TypeAlias

from tenuto.errors import InvalidInput, StoreError
from tenuto.observability.logging import logger
from tenuto.stores.base import Store
from tenuto.workers.child import REFUSED, STUCK, Order, command, packed
from tenuto.workers.config import WorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.loops import run
from tenuto.workers.worker import Worker, WorkerStuck

__all__ = ["Executor", "WorkerPool"]

log = logger("tenuto.worker")

Executor: TypeAlias = Literal["async", "thread", "process"]

_FIRST, _LONGEST = 0.1, 30.0
_STEADY = 60.0
"""Seconds after which a worker counts as having lived."""
_LATE = 2.0
"""Seconds after the grace time, before a process that does not end is killed."""


class WorkerPool:
    """Keeps `workers` workers running, until it is drained."""

    def __init__(
        self,
        store: Store | str,
        handlers: Sequence[Handler],
        config: WorkerConfig | None = None,
        *,
        workers: int = 1,
        executor: Executor = "async",
        name: str | None = None,
    ) -> None:
        """`store`: a URL, or an open store for workers in this process.

        Raises `InvalidInput` for a store or agents that cannot be shared with other processes where that is asked for.
        """
        if not 1 <= workers <= 1_024:
            raise InvalidInput(f"workers must be a whole number from 1 to 1,024, not {workers!r}")
        if executor not in ("async", "thread", "process"):
            raise InvalidInput(f"executor must be async, thread or process, not {executor!r}")
        self._config = config or WorkerConfig()
        self._handlers = tuple(handlers)
        self._workers = workers
        self._executor = executor
        self._name = name
        self._store: Store | None = None if isinstance(store, str) else store
        self._url = store if isinstance(store, str) else store.url
        self._content = b""
        if executor == "process":
            if self._url.startswith("memory:"):
                raise InvalidInput("memory:// lives in one process: use threads, or a store that processes can share")
            self._content = packed(Order(self._url, self._handlers, self._config, name))
        self._running: set[Worker] = set()
        self._processes: set[asyncio.subprocess.Process] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drained = asyncio.Event()
        self._draining = False

    @property
    def pids(self) -> Sequence[int]:
        """The worker processes that live now."""
        return [process.pid for process in self._processes if process.returncode is None]

    @property
    def busy(self) -> int:
        """Tasks running now in workers of this process."""
        return sum(worker.busy for worker in list(self._running))

    def drain(self) -> None:
        """Drains every worker; `run` returns when the last has ended. May be called from any thread."""
        self._draining = True
        for worker in list(self._running):
            worker.drain()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._drain_here)

    async def run(self) -> None:
        """Works until it was drained, or is cancelled, which ends processes at once. Raises `StoreError`."""
        self._loop = asyncio.get_running_loop()
        one = {"async": self._here, "thread": self._in_thread, "process": self._in_process}[self._executor]
        opened = None
        if self._store is None and self._executor != "process":
            from tenuto.stores import open_store

            self._store = opened = open_store(self._url)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._keep(one))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            if opened is not None:
                await opened.close()

    def _drain_here(self) -> None:
        self._drained.set()
        for process in self._processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)

    async def _keep(self, one: Callable[[], Awaitable[str]]) -> None:
        delay = _FIRST
        while not self._draining:
            began = time.monotonic()
            why = await one()
            if self._drained.is_set():
                return
            delay = _FIRST if time.monotonic() - began > _STEADY else delay
            log.warning("a worker has ended and is started again", why=why, seconds=delay)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._drained.wait()
            delay = min(delay * 2, _LONGEST)

    # -- one worker, until it ends; says why it has ------------------------------------------------------------

    async def _here(self) -> str:
        worker = self._made()
        try:
            await worker.run()
        except WorkerStuck as error:
            return str(error)
        finally:
            self._running.discard(worker)
        return "it was drained"

    async def _in_thread(self) -> str:
        worker = self._made()
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        thread = threading.Thread(target=self._serve, args=(worker, ended), name=worker.id, daemon=True)
        thread.start()
        try:
            return await asyncio.shield(ended)
        finally:
            worker.drain()
            self._running.discard(worker)

    def _made(self) -> Worker:
        assert self._store is not None
        worker = Worker(self._store, self._handlers, self._config, name=self._name)
        self._running.add(worker)
        if self._draining:
            worker.drain()
        return worker

    @staticmethod
    def _serve(worker: Worker, ended: asyncio.Future[str]) -> None:
        tell: Callable[[], object]
        try:
            run(worker.run())
            tell = partial(_settle, ended, "it was drained", None)
        except StoreError as error:
            tell = partial(_settle, ended, "", error)
        except BaseException as error:  # noqa: BLE001 - the pool reports it and starts another
            tell = partial(_settle, ended, str(error) or type(error).__name__, None)
        with contextlib.suppress(RuntimeError):  # the pool's loop is closed: nobody waits
            ended.get_loop().call_soon_threadsafe(tell)

    async def _in_process(self) -> str:
        process = await asyncio.create_subprocess_exec(*command(), stdin=asyncio.subprocess.PIPE)
        self._processes.add(process)
        if self._draining:
            self._drain_here()
        try:
            assert process.stdin is not None
            process.stdin.write(self._content)
            with contextlib.suppress(ConnectionError):  # it has died already; how is found out below
                await process.stdin.drain()
            code = await self._end_of(process)
            if code == REFUSED:
                raise StoreError(f"worker processes cannot use the store {self._url}; their log says why")
            return _cause(code)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if process.stdin is not None:
                process.stdin.close()
            self._processes.discard(process)

    async def _end_of(self, process: asyncio.subprocess.Process) -> int:
        """Waits for its end; once the pool drains, for the grace time and a little longer, and then kills it."""
        ending = asyncio.ensure_future(process.wait())
        drained = asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait([ending, drained], return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await asyncio.wait([ending], timeout=self._config.grace + _LATE)
            if not ending.done():
                log.error("a worker process does not drain and is killed", pid=process.pid)
                process.kill()
            return await ending
        finally:
            drained.cancel()


def _settle(ended: asyncio.Future[str], why: str, error: StoreError | None) -> None:
    if ended.done():
        return
    if error is not None:
        ended.set_exception(error)
    else:
        ended.set_result(why)


def _cause(code: int) -> str:
    if code == STUCK:
        return "calls that do not return took half of its slots"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
