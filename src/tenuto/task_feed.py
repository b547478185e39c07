"""Events of tasks on the event bus of the orchestrator, for those who have registered a callback for them.

The store's feed is the truth; this reads it, from the start of the orchestrator on, as long as somebody listens. Each
event comes at least once and in the order of its task; when the store goes away it is read on from where it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

from tenuto.client import Client
from tenuto.errors import StoreError
from tenuto.observability.logging import logger
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.tasks.event import Event, EventKind

__all__ = ["TaskFeed"]

log = logger("tenuto.supervisor")

_BEGINNING = 10.0
"""Most seconds that whoever starts to listen waits for the feed to have begun."""
_ENDING = 3.0
_REMEMBERED = 10_000
_PAGE = 1_000
_FIRST, _LONGEST = 0.5, 10.0


class TaskFeed:
    """Reads the feed in a thread of its own, between `start` and `stop`."""

    def __init__(self, client: Client, bus: OrchestratorEventBus) -> None:
        self._client = client
        self._bus = bus
        self._agents: OrderedDict[str, str] = OrderedDict()
        self._guard = threading.Lock()
        self._started = self._stopping = False
        self._thread: threading.Thread | None = None
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Future[None] | None = None
        self._cursor: str | None = "now"
        bus.on_listening(self._listened)

    def start(self) -> None:
        """Tells what happens from now on, if somebody listens; else as soon as somebody does."""
        with self._guard:
            self._started, self._stopping, self._cursor = True, False, "now"
        self._listened("")

    def stop(self) -> None:
        """Tells what has happened so far, and no more."""
        with self._guard:
            self._started, self._stopping = False, True
            thread, self._thread = self._thread, None
        if thread is not None:
            self._interrupt()
            thread.join(_ENDING)

    def _listened(self, event_name: str) -> None:
        kinds = self._kinds()
        if not kinds or (event_name and event_name not in {f"TASK_{kind.name}" for kind in kinds}):
            return
        with self._guard:
            if not self._started:
                return
            if self._thread is None:
                self._begun = threading.Event()
                self._thread = threading.Thread(target=self._serve, name="tenuto task events", daemon=True)
                self._thread.start()
            begun = self._begun
        if event_name and begun.is_set():
            self._interrupt()  # it goes on with one more kind of event
        begun.wait(_BEGINNING)

    def _kinds(self) -> list[EventKind]:
        return [kind for kind in EventKind if self._bus.listens_to(f"TASK_{kind.name}")]

    # -- the thread

    def _serve(self) -> None:
        asyncio.run(self._follow())

    async def _follow(self) -> None:
        self._loop = asyncio.get_running_loop()
        delay = _FIRST
        while not self._stopping:
            try:
                await self._begin()
                self._begun.set()
                await self._unless_interrupted(self._read())
                delay = _FIRST
            except StoreError as error:
                self._begun.set()
                log.warning("the events of tasks cannot be read, and are tried again", why=str(error), seconds=delay)
                await self._unless_interrupted(asyncio.sleep(delay))
                delay = min(delay * 2, _LONGEST)
        with contextlib.suppress(StoreError):
            await self._finish()

    async def _unless_interrupted(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = asyncio.ensure_future(work)
        if self._stopping:
            self._work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._work

    async def _begin(self) -> None:
        """Fixes where the feed stands now, so that nothing between the start and the first look is left out."""
        await self._client.open()
        if self._cursor == "now":
            page = await self._client.store.events("now", kinds=tuple(self._kinds()), limit=_PAGE)
            self._cursor = page.cursor
            for event in page.events:  # between "now" and now
                await self._tell(event)

    async def _read(self) -> None:
        updates = self._client.subscribe_to_updates(event_types=self._kinds(), after=self._cursor)
        async with contextlib.aclosing(updates):
            async for event in updates:
                await self._tell(event)

    async def _finish(self) -> None:
        while True:
            page = await self._client.store.events(self._cursor, kinds=tuple(self._kinds()), limit=_PAGE)
            for event in page.events:
                await self._tell(event)
            if not page.events:
                return

    async def _tell(self, event: Event) -> None:
        payload = {name: value for name, value in event.data.items() if name not in ("agent_name", "severity")}
        agent = await self._agent_of(event.task_id)
        if agent:
            payload["agent_name"] = agent
        self._bus.emit(
            f"TASK_{event.kind.name}",
            **payload
            | {
                "task_id": event.task_id,
                "task_seq": event.seq,
                "attempt": event.attempt,
                "owner_id": event.owner,
                "cursor": event.cursor,
                "data": event.data,
            },
        )
        self._cursor = event.cursor  # last: it may be interrupted while it looks up the agent

    async def _agent_of(self, task_id: str) -> str:
        known = self._agents.get(task_id)
        if known is not None:
            self._agents.move_to_end(task_id)
            return known
        task = await self._client.store.task(task_id)
        agent = "" if task is None else task.agent
        self._agents[task_id] = agent
        if len(self._agents) > _REMEMBERED:
            self._agents.popitem(last=False)
        return agent

    def _interrupt(self) -> None:
        """Makes the thread look again at what is wanted. From any other thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed: the thread has ended
                self._loop.call_soon_threadsafe(self._look_again)

    def _look_again(self) -> None:
        if self._work is not None:
            self._work.cancel()
