"""The object that people hold: a client of one store, and the workers that this program runs on it.

    orchestrator = Orchestrator()
    orchestrator.register_runner(my_agent, AgentWorkerConfig(workers=2))
    orchestrator.run()                      # until Ctrl-C or SIGTERM, then a clean end

or, inside a program that does other things as well:

    async with Orchestrator() as orchestrator:
        orchestrator.register_runner(my_agent)
        await orchestrator.enqueue_task(my_agent, my_agent.create_task(payload={"n": 1}))

`run`, `start` and `stop` block their thread; the task verbs are coroutines. Several orchestrators on one store share
the work.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from types import FrameType
from typing import Any, Self, get_args

from tenuto.client import Client
from tenuto.errors import Conflict, InvalidInput, MissingExtra, StoreBusy, StoreUnavailable
from tenuto.observability.logging import logger
from tenuto.stores.base import Store
from tenuto.tasks.ids import check_name
from tenuto.workers.config import AgentWorkerConfig, MaintenanceWorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.pool import Executor, WorkerPool

__all__ = ["DEFAULT_STORE", "Orchestrator", "OrchestratorConfig"]

DEFAULT_STORE = "sqlite:///.tenuto/tenuto.db"

_GLANCE = 1.0
"""Seconds between two looks of `run` at its workers."""

_LATE = 5.0
"""Seconds after the grace time, before workers that do not end are left behind."""

log = logger("tenuto.orchestrator")


@dataclass(frozen=True, kw_only=True)
class OrchestratorConfig:
    """The settings of an orchestrator; each is also a keyword of `Orchestrator`."""

    executor: Executor = "process"
    """where workers run: each in a process of its own, each in a thread, or ("async") those of one runner together on
    one event loop. With a store that only this process can reach, threads take the place of processes"""
    check_interval: float = 1.0
    """an idle worker asks for work at least this often, seconds. An upper bound: hints make it ask at once"""

    def __post_init__(self) -> None:
        if self.executor not in get_args(Executor):
            raise InvalidInput(f"executor must be 'process', 'thread' or 'async', not {self.executor!r}")
        if isinstance(self.check_interval, bool) or not 0.005 <= self.check_interval <= 3_600:
            raise InvalidInput(f"check_interval must be between 0.005 and 3600 seconds, not {self.check_interval!r}")


class Orchestrator(Client):
    """A client that also runs workers. Makes nothing and connects to nothing until the first verb or `start`."""

    Config = OrchestratorConfig

    def __init__(
        self,
        config: OrchestratorConfig | None = None,
        *,
        store: Store | str | None = None,
        name: str | None = None,
        redis_host: str | None = None,
        redis_port: int = 6379,
        redis_db: int = 0,
        redis_max_connections: int = 50,
        **config_fields: Any,
    ) -> None:
        """config: settings; single ones may be given as keywords besides, and win.

        store: a URL or a `Store`. Without it: `redis_host`, then the environment's `TENUTO_STORE`, then its
        `REDIS_HOST` and `REDIS_PORT`, then the file `.tenuto/tenuto.db` in the working directory.
        name: begins the names under which its workers are listed.

        Raises `InvalidInput` that names the argument which makes no sense.
        """
        if store is not None and redis_host is not None:
            raise InvalidInput("store and redis_host exclude each other: give one of them")
        self.config = _settings(config, config_fields)
        self.name = name if name is None else check_name(name, "name")
        if redis_host is not None:
            store = f"redis://{redis_host}:{redis_port}/{redis_db}?max_connections={redis_max_connections}"
        chosen = store if store is not None else default_store()
        try:
            super().__init__(chosen)
        except MissingExtra as error:
            if store is not None or os.environ.get("TENUTO_STORE"):
                raise
            hint = "the address is that of REDIS_HOST in the environment; TENUTO_STORE goes before it"
            raise MissingExtra(f"{error} ({hint})", extra=error.extra) from None
        self._address = chosen if isinstance(chosen, str) else chosen.url
        self._agents: set[str] = set()
        self._runners: list[_Runner] = []
        self._started = False
        self._stopping = threading.Event()

    # -- workers

    def register_runner(
        self,
        agent: Handler | Sequence[Handler],
        agent_worker_config: AgentWorkerConfig | None = None,
        maintenance_worker_config: MaintenanceWorkerConfig | None = None,
    ) -> None:
        """Gives `agent` workers of its own, from `start` on; at once when that was called already.

        agent: a task agent, or several that share their workers.
        agent_worker_config: how many, and how they work. maintenance_worker_config: how they keep the store tidy.
        Raises `InvalidInput` for something that is no task agent, `Conflict` for a second agent of one name.
        """
        agents = tuple(agent) if isinstance(agent, Sequence) else (agent,)
        names = [_name_of(each) for each in agents]
        for field, value, kind in (
            ("agent_worker_config", agent_worker_config, AgentWorkerConfig),
            ("maintenance_worker_config", maintenance_worker_config, MaintenanceWorkerConfig),
        ):
            if value is not None and not isinstance(value, kind):
                raise InvalidInput(f"{field} must be of type {kind.__name__}, not {type(value).__name__}")
        for position, each in enumerate(names):
            if each in self._agents or each in names[:position]:
                raise Conflict(f"there is a runner for an agent {each!r} already: give this one another name")
        if not agents:
            raise InvalidInput("agent is empty: give at least one task agent")
        runner = self._runner(agents, agent_worker_config or AgentWorkerConfig(), maintenance_worker_config)
        if self._started:
            runner.start()
        self._agents.update(names)
        self._runners.append(runner)

    def _runner(
        self, agents: Sequence[Handler], config: AgentWorkerConfig, maintenance: MaintenanceWorkerConfig | None
    ) -> _Runner:
        works_by = replace(
            config.worker_config(maintenance or MaintenanceWorkerConfig()), poll=float(self.config.check_interval)
        )
        own = self.store.url.startswith("memory:")  # only this process can reach it
        executor: Executor = "thread" if own and self.config.executor == "process" else self.config.executor
        store = self._address if executor == "process" else self.store

        def make() -> WorkerPool:
            return WorkerPool(store, agents, works_by, workers=config.workers, executor=executor, name=self.name)

        return _Runner(", ".join(agent.name for agent in agents), make, config.shutdown_grace)

    def start(self) -> None:
        """Starts the workers in the background. Does nothing when they run already.

        Raises `InvalidInput` when an agent cannot be sent to processes; none runs then.
        """
        if self._started:
            return
        self._started = True
        self._stopping.clear()
        try:
            for runner in self._runners:
                runner.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Drains the workers and returns when they have ended: running tasks finish or are handed back within the
        grace time of their worker. Does nothing when none runs. From any thread."""
        self._stopping.set()
        if not self._started:
            return
        self._started = False
        for runner in self._runners:
            runner.drain()
        for runner in self._runners:
            runner.join()

    def run(self) -> None:
        """Starts the workers, waits for SIGINT, SIGTERM or `stop` from another thread, and ends cleanly.

        A second signal stops at once; what ran then is run again elsewhere when its lease ends.
        Raises `InvalidInput` when no runner is registered, and what makes the store unusable; one that is only not
        there yet is waited for.
        """
        if not self._runners:
            raise InvalidInput("there is nothing to run: call register_runner first")
        if _in_coroutine():
            raise InvalidInput("run() blocks its thread: in a coroutine use `async with orchestrator` or start()")
        try:
            asyncio.run(self.open())
        except (StoreBusy, StoreUnavailable) as error:
            log.warning("the store is not there yet", why=str(error))
        with _signals(self._stopping):
            self.start()
            try:
                while not self._stopping.wait(_GLANCE):
                    for runner in self._runners:
                        if runner.failure is not None:
                            raise runner.failure
            finally:
                self.stop()
                asyncio.run(self.close())

    async def close(self) -> None:
        """Stops the workers, then closes the client."""
        await asyncio.to_thread(self.stop)
        await super().close()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await asyncio.to_thread(self.start)
        return self


class _Runner:
    """The workers of one registration, and the thread that looks after them."""

    def __init__(self, name: str, make: Callable[[], WorkerPool], grace: float) -> None:
        self._name = name
        self._make = make
        self._grace = grace
        self._pool: WorkerPool | None = None
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        """why they have ended although nobody stopped them"""

    def start(self) -> None:
        self.failure = None
        self._pool = pool = self._make()
        self._thread = threading.Thread(target=self._serve, args=(pool,), name=f"tenuto: {self._name}", daemon=True)
        self._thread.start()

    def _serve(self, pool: WorkerPool) -> None:
        try:
            asyncio.run(pool.run())
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits, see `run`
            self.failure = error
            log.error("the workers have ended", agents=self._name, why=repr(error))  # noqa: TRY400 - `run` raises it

    def drain(self) -> None:
        if self._pool is not None:
            self._pool.drain()

    def join(self) -> None:
        if self._thread is None:
            return
        self._thread.join(self._grace + _LATE)
        if self._thread.is_alive():
            log.error("the workers do not end and are left behind", agents=self._name)
        self._pool = self._thread = None


def _name_of(agent: Handler) -> str:
    name = getattr(agent, "name", None)
    if not isinstance(name, str) or not callable(getattr(agent, "handle", None)):
        raise InvalidInput(f"agent must be a task agent, such as a function under @task_agent, not {agent!r:.80}")
    return name


def default_store() -> str:
    """The store of this environment: `TENUTO_STORE`, else `REDIS_HOST` and `REDIS_PORT`, else a file here."""
    chosen = os.environ.get("TENUTO_STORE")
    if chosen:
        return chosen
    host = os.environ.get("REDIS_HOST")
    return f"redis://{host}:{os.environ.get('REDIS_PORT') or 6379}/0" if host else DEFAULT_STORE


def _settings(config: OrchestratorConfig | None, given: dict[str, Any]) -> OrchestratorConfig:
    if config is not None and not isinstance(config, OrchestratorConfig):
        raise InvalidInput(f"config must be an Orchestrator.Config, not {type(config).__name__}")
    known = {field.name for field in fields(OrchestratorConfig)}
    for name in given:
        if name not in known:
            raise InvalidInput(f"Orchestrator has no setting {name!r}: it has {', '.join(sorted(known))}")
    return replace(config or OrchestratorConfig(), **given)


def _in_coroutine() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _signals(stopping: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks to stop, a second one ends the program. Only where signals can be had."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, _: FrameType | None) -> None:
        if stopping.is_set():
            for each, handler in before.items():
                signal.signal(each, handler)
            signal.raise_signal(number)
        stopping.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
