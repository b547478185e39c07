"""The object that people hold: a client of one store, and a supervisor of the agents of this program.

    orchestrator = Orchestrator()
    orchestrator.register_agent(Importer, "importer")            # a service agent: runs by itself
    orchestrator.register_runner(my_agent, AgentWorkerConfig(workers=2))    # workers for the tasks of my_agent
    orchestrator.run()                      # until Ctrl-C or SIGTERM, then a clean end

or, inside a program that does other things as well:

    async with Orchestrator() as orchestrator:
        orchestrator.register_runner(my_agent)
        await orchestrator.enqueue_task(my_agent, my_agent.create_task(payload={"n": 1}))

A worker that has failed for good ends either of them: `run` and the block raise why.

The verbs of the supervisor block their thread; the task verbs are coroutines. Several orchestrators on one store share
the work. Workers are service agents like all others, but for one thing: they take none of the `max_workers` slots.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tenuto.block import Block
from tenuto.client import Client
from tenuto.errors import Conflict, InvalidInput, MissingExtra, StoreBusy, StoreUnavailable
from tenuto.observability.logging import logger
from tenuto.stores.base import Store
from tenuto.stores.durability import announce
from tenuto.stores.environment import default_store
from tenuto.supervisor.agents.worker import register_workers
from tenuto.supervisor.commands import Command
from tenuto.supervisor.entry import AgentEntry, Executor
from tenuto.supervisor.plugins import PluginSet
from tenuto.supervisor.settings import OrchestratorConfig, RunMode
from tenuto.supervisor.supervisor import Supervisor
from tenuto.task_commands import task_commands
from tenuto.task_feed import TaskFeed
from tenuto.workers.config import AgentWorkerConfig, MaintenanceWorkerConfig
from tenuto.workers.handler import Handler, check_able

if TYPE_CHECKING:
    import pydantic_ai

__all__ = ["Orchestrator", "OrchestratorConfig"]


log = logger("tenuto.orchestrator")


class Orchestrator(Client, Supervisor):
    """A client that also runs agents. Makes nothing and connects to nothing until the first verb or `start`."""

    def __init__(
        self,
        config: OrchestratorConfig | None = None,
        *,
        store: Store | str | None = None,
        name: str | None = None,
        plugin: PluginSet | None = None,
        redis_host: str | None = None,
        redis_port: int = 6379,
        redis_db: int = 0,
        redis_max_connections: int = 50,
        openai_api_key: str | None = None,
        anthropic_api_key: str | None = None,
        xai_api_key: str | None = None,
        **config_fields: Any,
    ) -> None:
        """config: settings; single ones may be given as keywords besides, and win.

        store: a URL or a `Store`. Without it: `redis_host`, then the environment's `TENUTO_STORE`, then its
        `REDIS_HOST` and `REDIS_PORT`, then the file `.tenuto/tenuto.db` in the working directory.
        name: begins the names under which its workers are listed, and is that of its command socket.
        plugin: what it carries, in place of what its class says.
        openai_api_key, anthropic_api_key, xai_api_key: for models of its LLM agents that are given by name; else the
        environment says them (`OPENAI_API_KEY`, …). They travel to its workers, and nowhere else.

        Raises `InvalidInput` that names the argument which makes no sense.
        """
        if store is not None and redis_host is not None:
            raise InvalidInput("store and redis_host exclude each other: give one of them")
        Supervisor.__init__(self, config, name=name, plugin=plugin, **config_fields)
        if redis_host is not None:
            store = _redis_url(redis_host, redis_port, redis_db, redis_max_connections)
        chosen = store if store is not None else default_store()
        try:
            Client.__init__(self, chosen)
        except MissingExtra as error:
            if store is not None or os.environ.get("TENUTO_STORE"):
                raise
            hint = "the address is that of REDIS_HOST in the environment; TENUTO_STORE goes before it"
            raise MissingExtra(f"{error} ({hint})", extra=error.extra) from None
        self._address = chosen if isinstance(chosen, str) else chosen.url
        self._task_feed = TaskFeed(self, self.event_bus)
        keys = {"openai": openai_api_key, "anthropic": anthropic_api_key, "xai": xai_api_key}
        self._api_keys = {provider: key for provider, key in keys.items() if key is not None}
        self._agents: dict[str, Handler] = {}
        self._has_workers = False
        self._block: Block | None = None
        """the `async with` that it runs in"""

    # -- workers

    def register_runner(
        self,
        agent: Handler | pydantic_ai.Agent[Any, Any] | Sequence[Handler | pydantic_ai.Agent[Any, Any]],
        agent_worker_config: AgentWorkerConfig | None = None,
        maintenance_worker_config: MaintenanceWorkerConfig | None = None,
    ) -> None:
        """Gives `agent` workers of its own, from `start` on; at once when that was called already.

        agent: a task agent or a `pydantic_ai.Agent`, or several that share their workers.
        agent_worker_config: how many, and how they work. maintenance_worker_config: how they keep the store tidy.
        Raises `InvalidInput` for something that is no task agent, `Conflict` for a second agent of one name. Where an
        agent is known to lack something here, such as the key of its model, `InvalidInput` says so when workers start.
        """
        given = agent if isinstance(agent, Sequence) else (agent,)
        agents = tuple(_task_agent(each, self._api_keys) for each in given)
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
        if self.started:
            for each in agents:
                check_able(each)
        config = agent_worker_config or AgentWorkerConfig()
        maintenance = maintenance_worker_config or MaintenanceWorkerConfig()
        entries = register_workers(
            self.lifecycle_manager,
            self._address if self._executor == "process" else self.store,
            agents,
            replace(config.worker_config(maintenance), poll=float(self.config.check_interval)),
            workers=config.workers,
            executor=self._executor,
            listed_as=self.name,
        )
        self._agents.update(zip(names, agents, strict=True))
        self._has_workers = True
        if self.started:
            self.lifecycle_manager.start_all([entry.name for entry in entries])

    def create_commands(self) -> Sequence[Command]:
        """The task verbs, beside the commands for agents."""
        return task_commands(self)

    def _begin(self) -> None:
        for agent in self._agents.values():
            check_able(agent)
        self._endings.fail(None)
        self._task_feed.start()
        super()._begin()

    def _end(self) -> None:
        self._task_feed.stop()
        super()._end()

    @property
    def run_mode(self) -> RunMode:
        """When it ends by itself: as its settings say, else `DAEMON` with a registered runner."""
        return self.config.run_mode or (RunMode.DAEMON if self._has_workers else RunMode.STOP_ON_EMPTY)

    @property
    def _executor(self) -> Executor:
        """Where workers run: a store that only this process can reach needs them here."""
        own = self.store.url.startswith("memory:")
        return "thread" if own and self.config.executor == "process" else self.config.executor

    def run(self) -> None:
        """Starts, waits for the end, SIGINT or SIGTERM, or `stop` from another thread, and ends cleanly.

        A second signal stops at once; tasks that ran then are run again elsewhere when their leases end.
        Raises `InvalidInput` when nothing is registered, and what makes the store unusable; one that is only not there
        yet is waited for.
        """
        if _in_coroutine():
            raise InvalidInput("run() blocks its thread: in a coroutine use `async with orchestrator` or start()")
        if self._has_workers:
            try:
                asyncio.run(self.open())
            except (StoreBusy, StoreUnavailable) as error:
                log.warning("the store is not there yet", why=str(error))
        try:
            super().run()
        finally:
            if not self.started:  # else it was a second signal, and nothing is waited for
                asyncio.run(self.close())

    async def open(self) -> None:
        """Opens the store, and says in the log what a crash can lose. Every verb does this by itself."""
        first = not self._opened
        await super().open()
        if first:
            await announce(self.store)

    async def close(self) -> None:
        """Stops all agents, then closes the client."""
        await asyncio.to_thread(self.stop)
        await super().close()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._block = Block()
        try:
            await asyncio.to_thread(self.start)
        except BaseException:
            await super().close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = self._block is not None and self._block.leave(error)
        await self.close()
        if ended:
            self._raise_failure()

    def _settled(self, entry: AgentEntry) -> None:
        super()._settled(entry)
        if self._failed is None:
            return
        if self._block is not None:
            self._block.end()
        if not any(each.essential and each.live for each in self.lifecycle_manager.entries):
            self._endings.fail(self._failure())


def _task_agent(agent: Any, keys: Mapping[str, str]) -> Any:
    """The task agent around an agent of Pydantic AI; an LLM agent with its keys; everything else as it is."""
    if any(kind.__module__.startswith("pydantic_ai.") for kind in type(agent).__mro__):
        from tenuto.agents.llm.agent import Agent  # only where it is used: it costs a second

        agent = Agent.of(agent)
    with_keys = getattr(agent, "with_keys", None)
    return agent if with_keys is None else with_keys(keys)


def _name_of(agent: Handler) -> str:
    name = getattr(agent, "name", None)
    if not isinstance(name, str) or not callable(getattr(agent, "handle", None)):
        raise InvalidInput(f"agent must be a task agent, such as a function under @task_agent, not {agent!r:.80}")
    return name


def _redis_url(host: object, port: object, database: object, max_connections: object) -> str:
    if not isinstance(host, str) or not re.fullmatch(r"[\w.-]+|[0-9A-Fa-f:.]+(%\w+)?", host):
        shown = repr(host) if "@" not in str(host) else "one with a user or a password, which belong into the URL"
        raise InvalidInput(f"redis_host must be the name or address of a host, not {shown}: use store= for a URL")
    for name, value, least, most in (
        ("redis_port", port, 1, 65_535),
        ("redis_db", database, 0, 65_535),
        ("redis_max_connections", max_connections, 2, 10_000),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidInput(f"{name} must be a whole number from {least} to {most}, not {value!r}")
    shown = f"[{host}]" if ":" in host else host
    return f"redis://{shown}:{port}/{database}?max_connections={max_connections}"


def _in_coroutine() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
