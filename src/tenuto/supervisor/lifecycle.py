"""The life of every agent, from its registration to its end: the verbs, which block, from any thread.

    REGISTERED ─start_agent─► QUEUED ─pool─► STARTING ─ready─► RUNNING ─stop_agent─► STOPPING ─► TERMINATED | FAILED
                                ▲                                                                      │
                                └────────────────────── restart policy, after its back-off ────────────┘

What happens in between is in `lives`, on an event loop in a thread of its own; nothing else writes to an `AgentEntry`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from tenuto.errors import Conflict, NotFound
from tenuto.supervisor.agents.base import BaseAgent
from tenuto.supervisor.contents import content_of
from tenuto.supervisor.dependency_graph import DependencyGraph
from tenuto.supervisor.entry import AgentEntry, Executor
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.events import OrchestratorEvent
from tenuto.supervisor.lives import AgentLives
from tenuto.supervisor.message_router import MessageRouter
from tenuto.supervisor.registration import registered
from tenuto.supervisor.settings import OrchestratorConfig
from tenuto.supervisor.states import AgentState
from tenuto.supervisor.worker_pool import WorkerPoolScheduler

__all__ = ["AgentLifecycleManager"]

T = TypeVar("T")

_ANSWER = 10.0
"""Seconds, beyond what agents are given, within which the supervisor itself answers."""


class AgentLifecycleManager:
    """Registers, starts, watches, restarts and stops agents. Usable without the rest of a supervisor."""

    def __init__(
        self,
        settings: OrchestratorConfig | None = None,
        *,
        event_bus: OrchestratorEventBus | None = None,
        message_router: MessageRouter | None = None,
        worker_pool: WorkerPoolScheduler | None = None,
        dependency_graph: DependencyGraph | None = None,
        process_made: Callable[[int], None] | None = None,
    ) -> None:
        """process_made: told the id of each process that is started."""
        self._settings = settings or OrchestratorConfig()
        self._bus = event_bus or OrchestratorEventBus()
        self._graph = dependency_graph or DependencyGraph()
        self._entries: dict[str, AgentEntry] = {}
        self._pool = worker_pool or WorkerPoolScheduler(self._settings.max_workers)
        router = message_router or MessageRouter(self._bus)
        self._own_router = None if message_router is not None else router
        self._lives = AgentLives(
            self._entries,
            self._settings,
            self._bus,
            router,
            self._pool,
            self._graph,
            process_made,
        )

    # -- verbs

    @property
    def on_settled(self) -> Callable[[AgentEntry], object] | None:
        """Told of each agent that has ended and is not started again by itself, on an event loop: it must not wait."""
        return self._lives.on_settled

    @on_settled.setter
    def on_settled(self, told: Callable[[AgentEntry], object] | None) -> None:
        self._lives.on_settled = told

    @property
    def entries(self) -> Sequence[AgentEntry]:
        """Every agent, in the order of registration."""
        return list(self._entries.values())

    @property
    def survivors(self) -> Sequence[str]:
        """Agents that did not stop when they had to, and still run."""
        return list(self._lives.left_behind)

    def entry(self, name: str) -> AgentEntry:
        """What is known of `name`. Raises `NotFound`."""
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self._entries) or "none"
            raise NotFound(f"there is no agent {name!r}; registered: {known}") from None

    def describe(self, name: str) -> dict[str, Any]:
        """What a listing shows of `name`, in plain types. Raises `NotFound`."""
        return self._described(self.entry(name), self._pool.queued)

    def describe_all(self) -> list[dict[str, Any]]:
        """The same of every agent, in the order of registration."""
        queued = frozenset(self._pool.queued)
        return [self._described(entry, queued) for entry in self.entries]

    def register(
        self,
        agent_class: type[BaseAgent],
        name: str,
        custom_config: Any = None,
        custom_plugin: Any = None,
        *,
        arguments: Mapping[str, Any] | None = None,
        executor: Executor | None = None,
        counted: bool = True,
        essential: bool = False,
    ) -> AgentEntry:
        """Makes `name` known as an agent of `agent_class`; starts nothing. See `Supervisor.register_agent`.

        executor: where it runs, instead of what its class says. counted: whether it takes a slot.
        essential: whether the orchestrator ends when it fails for good.
        """
        entry = registered(
            agent_class,
            name,
            custom_config,
            custom_plugin,
            arguments=arguments or {},
            executor=executor,
            default=self._settings.executor,
            counted=counted,
            essential=essential,
        )
        entry.log = self._settings.agent_logs
        self._graph.add_agent(entry.name)
        self._entries[entry.name] = entry
        self._bus.emit(OrchestratorEvent.AGENT_REGISTERED, agent_name=entry.name, executor=entry.executor)
        return entry

    def unregister(self, name: str) -> None:
        """Forgets `name`, so that the name may be given again; its history stays. For programs that register many.

        Raises `NotFound`, and `Conflict` while it runs or waits.
        """
        self._call(self._lives.forget(self.entry(name)))
        self._graph.remove_agent(name)
        self._entries.pop(name, None)

    def start_agent(self, name: str) -> AgentEntry:
        """Puts `name` into the queue, after what it depends on where that does not run; returns at once.

        Raises `NotFound`; `Conflict` when it runs or waits already; `InvalidInput` when it cannot be sent to a process,
        or its dependencies make no sense.
        """
        entry = self.entry(name)
        self._graph.validate()
        self.start_all([each for each in self._needed(name) if each == name or not self._will_be_ready(each)])
        return entry

    def start_all(self, names: Sequence[str]) -> None:
        """Queues all of `names`, in that order, or none. Raises as `start_agent` does."""
        entries = [self.entry(name) for name in names]
        contents = {each.name: content_of(each) for each in entries if each.executor == "process"}
        self._call(self._lives.queue(names, contents))

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Waits until no agent runs or waits any more, or for `timeout` seconds; says whether that is so."""
        return self._lives.idle.wait(timeout)

    def stop_agent(self, name: str, timeout: float | None = None) -> bool:
        """Stops `name` and returns when it has ended; False when it cannot be made to end, and was left behind.

        timeout: seconds until it is interrupted; None: as its settings say, else the orchestrator's.
        Does nothing when it does not run.
        """
        entry = self.entry(name)
        seconds = self._lives.stop_seconds(entry) if timeout is None else timeout
        self._call(self._lives.stop(entry, seconds), seconds)
        return name not in self._lives.left_behind

    def restart_agent(self, name: str) -> AgentEntry:
        """Stops `name`, if it runs, and puts it into the queue. Raises `Conflict` when it cannot be made to end."""
        if not self.stop_agent(name):
            raise Conflict(f"agent {name!r} does not stop, so it cannot be started again")
        return self.start_agent(name)

    def stop_all(self, timeout: float | None = None) -> Sequence[str]:
        """Stops every agent, those first on which nothing depends; returns the names of those left behind.

        timeout: seconds that all of them have together; None: each as its settings say.
        """
        most = max(map(self._lives.stop_seconds, self.entries), default=0.0) if timeout is None else timeout
        self._call(self._lives.stop_all(timeout), most)
        return self.survivors

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Until the end of the block, nothing is started: `start_agent` raises `Conflict`."""
        self._lives.closing = True
        try:
            yield
        finally:
            self._lives.closing = False

    def send_message(self, name: str, content: Any) -> bool:
        """Sends `content` to the agent, which gets it by `receive_message`; False when it does not run."""
        return self._call(self._lives.send(self.entry(name), content))

    def preload(self, modules: Sequence[str]) -> None:
        """Adds modules that process agents find imported, if none was started yet."""
        self._lives.processes.preload(modules)

    def warm_up(self) -> None:
        """Starts the fork server ahead of the first agent that needs it."""
        self._lives.loop.loop()
        self._lives.loop.soon(self._lives.processes.warm_up)

    def hurry(self) -> None:
        """Interrupts every agent that was asked to stop; returns at once. May be called by a signal handler."""
        self._lives.loop.soon(self._lives.hurry)

    def kill_all(self) -> None:
        """Kills every process at once."""
        self._lives.processes.kill()

    def close(self) -> bool:
        """Ends what the manager itself runs, once its agents have ended; False when something of it blocks.

        It can be used again afterwards.
        """
        if self._own_router is not None:
            self._own_router.stop()
        self._call(self._lives.processes.close())
        return self._lives.agents_loop.close(1.0) and self._lives.loop.close(1.0)

    def _described(self, entry: AgentEntry, queued: Collection[str]) -> dict[str, Any]:
        found = entry.describe()
        if entry.state is AgentState.QUEUED:
            waits = self._waits_for(entry, queued)
            found["reason"] = ", after: ".join(each for each in (waits, entry.reason) if each)
        return found

    def _waits_for(self, entry: AgentEntry, queued: Collection[str]) -> str:
        """What keeps a queued agent from being started; empty when nothing does."""
        restarts_at = entry.restarts_at
        if restarts_at is not None:
            return f"restarts in {max(restarts_at - time.time(), 0.0):,.1f} s"
        if entry.name not in queued:
            return ""
        awaited = [each for each in self._graph.depends_on(entry.name) if not self._lives.is_ready(each)]
        return f"waits for {', '.join(awaited)}" if awaited else "waits for a slot"

    def _needed(self, name: str) -> Sequence[str]:
        """`name` and all that it depends on, in the order of their start."""
        found, open_ = {name}, [name]
        while open_:
            new = set(self._graph.depends_on(open_.pop())) - found
            found |= new
            open_ += new
        return [each for each in self._graph.order() if each in found]

    def _will_be_ready(self, name: str) -> bool:
        return self._lives.is_active(name) or self._lives.is_ready(name)

    def _call(self, work: Coroutine[Any, Any, T], seconds: float = 0.0) -> T:
        if self._lives.loop.here or self._lives.agents_loop.here:
            work.close()
            raise Conflict("verbs of the supervisor block: they cannot be called on an event loop of agents")
        return self._lives.loop.call(work, seconds + _ANSWER)
