"""What happens to agents on the supervisor's event loop: they wait for their turn, start, end, and start again.

    submit ──► queue ──► slot ──► Start ──► ended ──► slot free ──► the next, and perhaps itself again
                 ▲                                                        │
                 └──────────── restart policy, after its back-off ────────┘

An agent waits in the queue until all that it depends on are ready. When one of those has failed, or was stopped before
it was ready, whoever waits for it fails as well and says so. When all are stopped, an agent is asked as soon as those
that depend on it have ended.

Everything here is called on that loop, but for the hooks of the pool and of the message router.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from tenuto.errors import Conflict
from tenuto.observability.logging import logger
from tenuto.supervisor.dependency_graph import DependencyGraph
from tenuto.supervisor.entry import AgentEntry
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.events import OrchestratorEvent
from tenuto.supervisor.loop_thread import LoopThread
from tenuto.supervisor.message_router import MessageRouter
from tenuto.supervisor.messages import Message, MessageKind
from tenuto.supervisor.processes import ForkServer
from tenuto.supervisor.restart import Restarts
from tenuto.supervisor.runs import Run
from tenuto.supervisor.settings import OrchestratorConfig
from tenuto.supervisor.start import Ending, Start
from tenuto.supervisor.states import AgentState
from tenuto.supervisor.texts import message_of
from tenuto.supervisor.threads import run_in_thread, run_on_loop
from tenuto.supervisor.worker_pool import WorkerPoolScheduler

__all__ = ["AgentLives"]

log = logger("tenuto.supervisor")

_E = OrchestratorEvent
_AT_ONCE = 16
"""Processes that import their agent's modules at the same time: more would hinder each other until all are late."""


class AgentLives:
    """The lives of all agents in `entries`."""

    def __init__(
        self,
        entries: Mapping[str, AgentEntry],
        settings: OrchestratorConfig,
        bus: OrchestratorEventBus,
        router: MessageRouter,
        pool: WorkerPoolScheduler,
        graph: DependencyGraph,
        process_made: Callable[[int], None] | None,
    ) -> None:
        self._entries = entries
        self._settings = settings
        self._bus = bus
        self._router = router
        self._pool = pool
        self._graph = graph
        self.loop = LoopThread("tenuto supervisor")
        self.agents_loop = LoopThread("tenuto async agents")
        self.processes = ForkServer(tuple(settings.preload), process_made, settings.agent_start_timeout)
        self._contents: dict[str, bytes] = {}
        """of each agent that goes to a process: what goes there"""
        self._starts: dict[str, Start] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """of each agent that was given a slot"""
        self._restarts: dict[str, Restarts] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        """of each queued agent: its back-off, or the time after which its waiting is reported"""
        self._told: dict[str, int] = {}
        """of each agent: its newest start whose end was told"""
        self.left_behind: dict[str, asyncio.Task[None]] = {}
        """agents that do not stop, and what waits for their end"""
        self._active: set[str] = set()
        self._stopping_all = False
        self.closing = False
        """whether nothing is started any more, as callbacks might want even when all have ended"""
        self.idle = threading.Event()
        """set while no agent runs or waits"""
        self.idle.set()
        self.on_settled: Callable[[AgentEntry], object] | None = None
        """told of each agent that has ended and is not started again by itself; must not wait"""
        router.on_message = self._heard
        pool.bind(self._launch, self._may_start)

    def is_ready(self, name: str) -> bool:
        """Whether what depends on `name` may start."""
        entry = self._entries.get(name)
        return entry is not None and entry.was_ready and entry.state in (AgentState.RUNNING, AgentState.TERMINATED)

    def is_active(self, name: str) -> bool:
        """Whether `name` runs or waits."""
        return name in self._active

    # -- the queue

    async def queue(self, names: Sequence[str], contents: Mapping[str, bytes]) -> None:
        """Queues all of `names` in that order, or none. Raises `Conflict`."""
        if not self._active:
            self._turns = asyncio.Semaphore(_AT_ONCE)
        if self._stopping_all or self.closing:
            raise Conflict("the orchestrator is stopping its agents: it starts none")
        for name in names:
            if name in self.left_behind:
                raise Conflict(f"agent {name!r} did not stop and still runs: it cannot be started again")
            if name in self._active:
                raise Conflict(f"agent {name!r} is {self._entries[name].state} already")
        self._contents.update(contents)
        for name in names:
            entry = self._entries[name]
            entry.stop_asked = entry.was_ready = False
            entry.restarts = 0
            self._restarts[name] = Restarts(entry.config.restart)
            self._active.add(name)
            self.idle.clear()
            entry.advance(AgentState.QUEUED)
        for name in names:
            self._submit(self._entries[name])

    async def forget(self, entry: AgentEntry) -> None:
        """Forgets what is known of an agent that has ended. Raises `Conflict` while it has not."""
        if entry.name in self._active or entry.name in self.left_behind:
            raise Conflict(f"agent {entry.name!r} is {entry.state}: stop it first")
        for known in (self._contents, self._restarts, self._tasks, self._told):
            known.pop(entry.name, None)

    def _submit(self, entry: AgentEntry) -> None:
        entry.restarts_at = None
        limit = self._settings.agent_start_timeout
        loop = asyncio.get_running_loop()
        self._timers[entry.name] = loop.call_later(limit, self._waits_long, entry, limit)
        self._pool.submit(entry.name, counted=entry.counted)

    def _waits_long(self, entry: AgentEntry, seconds: float) -> None:
        awaited = [name for name in self._graph.depends_on(entry.name) if not self.is_ready(name)]
        if not awaited and not self._graph.dependents(entry.name):
            return  # it waits for its turn, and nobody for it
        what = ", ".join(f"{name!r}, which is {self._entries[name].state}" for name in awaited)
        why = f"for {what}" if awaited else f"for one of {self._pool.max_workers} slots"
        self._bus.emit(_E.AGENT_TIMEOUT, agent_name=entry.name, reason=f"it has waited {seconds:g} s {why}")

    def _may_start(self, name: str) -> bool:
        return not self._entries[name].stop_asked and all(map(self.is_ready, self._graph.depends_on(name)))

    def _cancel_timer(self, entry: AgentEntry) -> None:
        timer = self._timers.pop(entry.name, None)
        if timer is not None:
            timer.cancel()

    # -- one start

    def _launch(self, name: str) -> None:
        """The pool has a slot for `name`."""
        if not self.loop.here:
            self.loop.soon(self._launch, name)
            return
        task = asyncio.get_running_loop().create_task(self._live(self._entries[name]), name=f"start of {name}")
        self._tasks[name] = task

    async def _live(self, entry: AgentEntry) -> None:
        if entry.state is not AgentState.QUEUED:  # it was stopped when it had just got its slot
            self._pool.release(entry.name)
            return
        self._cancel_timer(entry)
        entry.begin()
        limit = entry.config.start_timeout or self._settings.agent_start_timeout
        start: Start | None = None
        try:
            async with self._turns if entry.executor == "process" else nullcontext():
                start = await self._begun(entry, limit)
                if entry.stop_asked:
                    start.stop(start.began + self.stop_seconds(entry))
                await start.begun()
        except asyncio.CancelledError:
            ending = Ending(AgentState.TERMINATED, "stopped while it was being started")
        except Exception as error:  # noqa: BLE001 - no process, no thread: whatever it was, it is told, and the slot freed
            ending = Ending(AgentState.FAILED, message_of(error), unreported=True)
        else:
            ending = await start.lived()
            self._router.detach(entry.name, entry.generation)
            start.run.close()
            del self._starts[entry.name]
        self._ended(entry, ending, start)

    async def _begun(self, entry: AgentEntry, limit: float) -> Start:
        run = await self._run(entry)
        try:
            self._router.attach(run.end)
        except BaseException:
            run.close()  # without a channel it ends
            raise
        entry.pid = run.pid
        start = self._starts[entry.name] = Start(entry, run, self._bus, limit)
        return start

    async def _run(self, entry: AgentEntry) -> Run:
        if entry.executor == "process":
            return await self.processes.run(entry, self._contents[entry.name])
        if entry.executor == "async":
            return run_on_loop(entry, self.agents_loop.loop())
        return run_in_thread(entry)

    def _ended(self, entry: AgentEntry, ending: Ending, start: Start | None) -> None:
        """A start is over: tell it, give the slot on, and see whether there is another."""
        entry.finish(ending.exit.code, ending.exit.signal, ending.exit.error)
        delay, reason = self._restart(entry, ending, start)
        self._tell_end(entry, ending.state, reason, unreported=ending.unreported, restarts_in=delay)
        if ending.left_behind and start is not None:
            log.error("an agent does not stop and is left behind", agent=entry.name)
            self.left_behind[entry.name] = asyncio.get_running_loop().create_task(self._forget(entry.name, start))
        self._tasks.pop(entry.name, None)
        if delay is not None:
            entry.restarts += 1
            entry.restarts_at = time.time() + delay
            entry.advance(AgentState.QUEUED, reason)
            self._timers[entry.name] = asyncio.get_running_loop().call_later(delay, self._submit, entry)
        self._pool.release(entry.name)
        if delay is None:
            self._settled(entry)

    def _restart(self, entry: AgentEntry, ending: Ending, start: Start | None) -> tuple[float | None, str]:
        """Seconds until the next start, None for none; and the reason with which this one is told."""
        restarts = self._restarts[entry.name]
        final = entry.stop_asked or ending.left_behind or ending.exit.final or (start is not None and start.final)
        if final or not restarts.wanted(failed=ending.failed):
            return None, ending.reason
        delay = restarts.delay(lived=0.0 if start is None else asyncio.get_running_loop().time() - start.began)
        if delay is not None:
            return delay, ending.reason
        reason = f"{ending.reason or 'it has ended'}; given up after {restarts.count} restarts"
        self._bus.emit(_E.AGENT_ERROR, agent_name=entry.name, error_message=reason, restarts=restarts.count)
        return None, reason

    def _tell_end(
        self, entry: AgentEntry, state: AgentState, reason: str, *, unreported: bool, restarts_in: float | None = None
    ) -> None:
        told: dict[str, Any] = {"agent_name": entry.name, "generation": entry.generation}
        exits = {"exit_code": entry.exit_code, "signal": entry.exit_signal_name, "restarts_in": restarts_in}
        told |= {name: value for name, value in exits.items() if value is not None}
        if unreported:
            self._bus.emit(_E.AGENT_ERROR, error_message=reason, **told)
        entry.advance(state, reason)
        if state is AgentState.FAILED and restarts_in is None:
            log.error("an agent has failed", agent=entry.name, why=reason)
        elif state is AgentState.FAILED:
            log.warning("an agent has failed and is started again", agent=entry.name, why=reason, seconds=restarts_in)
        if self._told.get(entry.name) != entry.generation:  # else it only waited for another start, which never came
            self._told[entry.name] = entry.generation
            self._bus.emit(_E.AGENT_TERMINATED, state=state.value, reason=reason, **told)

    async def _forget(self, name: str, start: Start) -> None:
        await start.gone()
        del self.left_behind[name]

    def _settled(self, entry: AgentEntry) -> None:
        """It has ended and is not started again by itself."""
        self._active.discard(entry.name)
        if not self.is_ready(entry.name):
            for name in self._graph.dependents(entry.name):
                other = self._entries.get(name)
                if other is not None and other.state is AgentState.QUEUED:
                    why = f"it depends on {entry.name!r}, which is {entry.state}"
                    self._give_up(other, AgentState.FAILED, f"{why}: {entry.reason}" if entry.reason else why)
        if not self._active and not self.idle.is_set():
            self._bus.emit(_E.ALL_AGENTS_TERMINATED)
            self.idle.set()
        if self.on_settled is not None:
            self.on_settled(entry)

    def _give_up(self, entry: AgentEntry, state: AgentState, reason: str) -> None:
        """A queued agent is not started."""
        self._cancel_timer(entry)
        self._pool.withdraw(entry.name)
        entry.restarts_at = None
        if entry.ended_at is None:  # else what is known of its last start stays
            entry.finish(None, None, None)
        self._tell_end(entry, state, reason, unreported=state is AgentState.FAILED)
        self._settled(entry)

    # -- messages

    def _heard(self, message: Message) -> None:
        """The router's hook, called by its thread."""
        if message.kind is not MessageKind.MESSAGE:
            self.loop.soon(self._take, message)

    def _take(self, message: Message) -> None:
        start = self._starts.get(message.agent)
        if start is None or start.generation != message.generation:
            return
        start.take(message)
        if message.kind is MessageKind.READY:
            self._pool.schedule()

    async def send(self, entry: AgentEntry, content: Any) -> bool:
        """Sends `content` to the program of `entry`; False when it does not run."""
        start = self._starts.get(entry.name)
        if start is None:
            return False
        message = Message(kind=MessageKind.MESSAGE, agent=entry.name, generation=entry.generation, content=content)
        return start.run.send(message)

    # -- stopping

    def stop_seconds(self, entry: AgentEntry) -> float:
        """How long `entry` may take to stop."""
        own: float | None = entry.config.stop_timeout
        return self._settings.agent_stop_timeout if own is None else own

    async def stop(self, entry: AgentEntry, seconds: float) -> None:
        """Makes `entry` end; it has so many seconds before it is interrupted."""
        await self._stop(entry, asyncio.get_running_loop().time() + seconds)

    async def stop_all(self, seconds: float | None) -> None:
        """The same for all of them together, those first on which nothing depends. None: each as its settings say."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._stopping_all = True
        stops: dict[str, asyncio.Task[None]] = {}
        try:
            for name in reversed(self._graph.order()):
                entry = self._entries.get(name)
                if entry is None:
                    continue  # it is being registered
                entry.stop_asked = entry.stop_asked or name in self._active
                own = self.stop_seconds(entry) if seconds is None else seconds
                before = [stops[each] for each in self._graph.dependents(name) if each in stops]
                stops[name] = loop.create_task(self._stop_after(entry, before, now, own))
            if stops:
                await asyncio.wait(stops.values())
        finally:
            self._stopping_all = False

    def hurry(self) -> None:
        """Gives agents that are to stop no more time."""
        now = asyncio.get_running_loop().time()
        for start in list(self._starts.values()):
            if start.entry.stop_asked:
                start.stop(now)

    async def _stop_after(
        self, entry: AgentEntry, before: Sequence[asyncio.Task[None]], now: float, seconds: float
    ) -> None:
        if before and self.is_active(entry.name):  # they have at most half of the time
            await asyncio.wait(before, timeout=seconds / 2)
        await self._stop(entry, now + seconds)

    async def _stop(self, entry: AgentEntry, deadline: float) -> None:
        if entry.name not in self._active:
            return
        entry.stop_asked = True
        if entry.state is AgentState.QUEUED:
            again = " again" if entry.generation else ""
            self._give_up(entry, AgentState.TERMINATED, f"stopped before it was started{again}")
            return
        task, start = self._tasks[entry.name], self._starts.get(entry.name)
        if start is not None:
            start.stop(deadline)
        else:
            asyncio.get_running_loop().call_at(deadline, self._cease, entry.name, task)
        await asyncio.wait([task])

    def _cease(self, name: str, task: asyncio.Task[None]) -> None:
        """An agent that was to stop waits for its process in vain."""
        if name not in self._starts:
            task.cancel()
