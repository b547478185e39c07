"""The managers of a supervisor: made, joined to each other, and told what to look after.

    dependency_graph    who waits for whom, in what order agents start
    lifecycle_manager   registers, starts, watches, restarts and stops them
    worker_pool         how many run at once, and who is next
    event_bus           callbacks, and the history of what has happened
    message_router      turns what agents send into events
    command_interface   what `tenuto ps` and others talk to; None unless it is enabled. The supervisor itself makes it

Each is an attribute, works alone as well, and can be replaced: override the `create_…` method that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from tenuto.errors import InvalidInput
from tenuto.supervisor.agents.base import BaseAgent
from tenuto.supervisor.dependency_graph import DependencyGraph
from tenuto.supervisor.entry import AgentEntry
from tenuto.supervisor.event_bus import OrchestratorEventBus, default_history
from tenuto.supervisor.events import OrchestratorEvent
from tenuto.supervisor.lifecycle import AgentLifecycleManager
from tenuto.supervisor.message_router import MessageRouter
from tenuto.supervisor.orphans import ProcessNotes
from tenuto.supervisor.plugins import PluginSet
from tenuto.supervisor.settings import OrchestratorConfig, settings_of
from tenuto.supervisor.worker_pool import WorkerPoolScheduler
from tenuto.tasks.ids import check_name

__all__ = ["Managed"]

M = TypeVar("M")


class Managed:
    """The managers, and the verbs that need nothing else."""

    Config: TypeAlias = OrchestratorConfig

    class Plugin(PluginSet):
        """What the orchestrator itself carries."""

    def __init__(
        self, config: OrchestratorConfig | None, name: str | None, plugin: PluginSet | None, fields: Mapping[str, Any]
    ) -> None:
        self.config = settings_of(self.Config, config, fields)
        self.name = name if name is None else check_name(name, "name")
        self.plugin = (self.Plugin() if plugin is None else plugin).of(self)
        self.dependency_graph = _made(self.create_dependency_graph, DependencyGraph)
        self.event_bus = _made(self.create_event_bus, OrchestratorEventBus)
        self.message_router = _made(self.create_message_router, MessageRouter)
        self.worker_pool = _made(self.create_worker_pool, WorkerPoolScheduler)
        self._notes = ProcessNotes()
        self.lifecycle_manager = _made(self.create_lifecycle_manager, AgentLifecycleManager)

    # -- the managers

    def create_dependency_graph(self) -> DependencyGraph:
        """Makes the `dependency_graph`."""
        return DependencyGraph()

    def create_event_bus(self) -> OrchestratorEventBus:
        """Makes the `event_bus`."""
        return OrchestratorEventBus(default_history(self.config.history_max_events, self.config.history_payload_bytes))

    def create_message_router(self) -> MessageRouter:
        """Makes the `message_router`, over `self.event_bus`."""
        return MessageRouter(self.event_bus)

    def create_worker_pool(self) -> WorkerPoolScheduler:
        """Makes the `worker_pool`."""
        return WorkerPoolScheduler(self.config.max_workers)

    def create_lifecycle_manager(self) -> AgentLifecycleManager:
        """Makes the `lifecycle_manager`, over the managers before it."""
        return AgentLifecycleManager(
            self.config,
            event_bus=self.event_bus,
            message_router=self.message_router,
            worker_pool=self.worker_pool,
            dependency_graph=self.dependency_graph,
            process_made=self._notes.note,
        )

    # -- what it looks after

    def register_agent(
        self,
        agent_class: type[BaseAgent],
        name: str,
        custom_config: Any = None,
        custom_plugin: PluginSet | None = None,
        **kwargs: Any,
    ) -> AgentEntry:
        """Makes `name` known as an agent of `agent_class`. One class may be registered under several names.

        custom_config: a `Config` of that class, or a mapping of settings. custom_plugin: in place of the class's
        plugins. kwargs: what its constructor gets besides.
        Once the orchestrator runs, `lifecycle_manager.start_agent` starts it.
        Raises `InvalidInput` (a `ValueError`) for a name that is taken, and for settings that are refused.
        """
        return self.lifecycle_manager.register(agent_class, name, custom_config, custom_plugin, arguments=kwargs)

    def add_dependency(self, name: str, depends_on: Sequence[str]) -> None:
        """Says that `name` starts only when all of `depends_on` are ready; they may be registered later."""
        self.dependency_graph.add_dependency(name, depends_on)

    def validate_dependencies(self) -> None:
        """Raises `InvalidInput` (a `ValueError`) that names the agents of an unknown or circular dependency."""
        self.dependency_graph.validate()

    def register_event(self, event: OrchestratorEvent | str, callback: Callable[..., object]) -> None:
        """Calls `callback` at each such event; see `event_bus`."""
        self.event_bus.register_callback(event, callback)

    def report(self) -> str:
        """What has become of each agent, as text: a line for each."""
        rows = [("AGENT", "STATE", "STARTS", "SECONDS", "REASON")]
        for row in self.lifecycle_manager.describe_all():
            seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
            rows.append((row["name"], row["state"], str(row["generation"]), seconds, row["reason"]))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def _made(create: Callable[[], M], kind: type[M]) -> M:
    """What `create` makes. Raises `InvalidInput` when that is no `kind`, as where an override returns nothing."""
    manager = create()
    if not isinstance(manager, kind):
        name = getattr(create, "__name__", "it")
        raise InvalidInput(f"{name}() must return a manager of type {kind.__name__}, not {type(manager).__name__}")
    return manager
