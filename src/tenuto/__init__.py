"""Tenuto: durable tasks for agents that must finish.

    import tenuto

    @tenuto.task_agent
    def word_count(payload: dict) -> int:
        return len(payload["text"].split())

    async def main():
        async with tenuto.Orchestrator() as orchestrator:
            orchestrator.register_runner(word_count)
            task = word_count.create_task(payload={"text": "hold the note"})
            await orchestrator.enqueue_task(word_count, task)
            print(await orchestrator.get_task_result(task.id))

Everything here is imported when it is first used, so that `import tenuto` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.machinery import PathFinder

from tenuto._version import __version__

TYPE_CHECKING = False  # `typing` alone takes longer than all else here
if TYPE_CHECKING:
    from typing import Any

    from tenuto.agents.function import FunctionAgent, task_agent
    from tenuto.agents.llm.agent import Agent
    from tenuto.agents.llm.context import AgentContext
    from tenuto.agents.llm.current import current_context, idempotency_key
    from tenuto.agents.llm.durability import TenutoDurability
    from tenuto.agents.llm.team import as_tool, hand_off
    from tenuto.agents.llm.tools import deferred, tool
    from tenuto.client import BatchProgress, Client, Page, TaskView
    from tenuto.errors import (
        AgentFailed,
        AgentStuck,
        AlreadyFinished,
        BudgetExceeded,
        Conflict,
        Forbidden,
        InvalidInput,
        JournalMismatch,
        ModelError,
        NotFound,
        StepUnknown,
        StoreError,
        TaskCancelled,
        TaskFailed,
        TenutoError,
        TooLarge,
        Unreachable,
        Unstorable,
        WaitTimeout,
    )
    from tenuto.observability.agent_logs import AgentLogConfig
    from tenuto.orchestrator import Orchestrator
    from tenuto.plans import GoalBuilder, goal, read_plan
    from tenuto.stores import open_store
    from tenuto.supervisor.agents.asynchronous import BaseAsyncAgent
    from tenuto.supervisor.agents.base import BaseAgent, BaseProcessAgent, BaseThreadAgent
    from tenuto.supervisor.agents.command import CommandAgent
    from tenuto.supervisor.agents.looping import (
        LoopingAgent,
        LoopingAsyncAgent,
        LoopingProcessAgent,
        LoopingThreadAgent,
    )
    from tenuto.supervisor.agents.periodic import (
        PeriodicAgent,
        PeriodicAsyncAgent,
        PeriodicProcessAgent,
        PeriodicThreadAgent,
    )
    from tenuto.supervisor.command_client import CommandClient
    from tenuto.supervisor.command_interface import CommandInterface
    from tenuto.supervisor.commands import Command, Parameter
    from tenuto.supervisor.config import ValidationPolicy, ValidationResult, ValidationSeverity
    from tenuto.supervisor.dependency_graph import DependencyGraph
    from tenuto.supervisor.entry import AgentEntry
    from tenuto.supervisor.event_bus import OrchestratorEventBus
    from tenuto.supervisor.event_policies import BucketRingStore, RingBufferStore
    from tenuto.supervisor.event_store import EventStore
    from tenuto.supervisor.events import OrchestratorEvent, Severity
    from tenuto.supervisor.exceptions import NonRecoverableException, RecoverableException
    from tenuto.supervisor.heartbeat import HeartbeatPlugin
    from tenuto.supervisor.lifecycle import AgentLifecycleManager
    from tenuto.supervisor.message_router import MessageRouter
    from tenuto.supervisor.plugins import Plugin, PluginSet
    from tenuto.supervisor.restart import RestartPolicy
    from tenuto.supervisor.settings import OrchestratorConfig, RunMode
    from tenuto.supervisor.states import AgentState
    from tenuto.supervisor.supervisor import Supervisor
    from tenuto.supervisor.worker_pool import WorkerPoolScheduler
    from tenuto.tasks.event import Event, EventKind
    from tenuto.tasks.limits import Limit
    from tenuto.tasks.money import Budget
    from tenuto.tasks.retry import RetryPolicy
    from tenuto.tasks.states import State, Status
    from tenuto.tasks.task import TaskSpec, Unique
    from tenuto.workers.config import AgentWorkerConfig, MaintenanceWorkerConfig, TaskTTLConfig, WorkerConfig
    from tenuto.workers.context import Context
    from tenuto.workers.worker import Worker

__all__ = [
    "Agent",
    "AgentContext",
    "AgentEntry",
    "AgentFailed",
    "AgentLifecycleManager",
    "AgentLogConfig",
    "AgentState",
    "AgentStuck",
    "AgentWorkerConfig",
    "AlreadyFinished",
    "BaseAgent",
    "BaseAsyncAgent",
    "BaseProcessAgent",
    "BaseThreadAgent",
    "BatchProgress",
    "BucketRingStore",
    "Budget",
    "BudgetExceeded",
    "Client",
    "Command",
    "CommandAgent",
    "CommandClient",
    "CommandInterface",
    "Conflict",
    "Context",
    "DependencyGraph",
    "Event",
    "EventKind",
    "EventStore",
    "Forbidden",
    "FunctionAgent",
    "GoalBuilder",
    "HeartbeatPlugin",
    "InvalidInput",
    "JournalMismatch",
    "Limit",
    "LoopingAgent",
    "LoopingAsyncAgent",
    "LoopingProcessAgent",
    "LoopingThreadAgent",
    "MaintenanceWorkerConfig",
    "MessageRouter",
    "ModelError",
    "NonRecoverableException",
    "NotFound",
    "Orchestrator",
    "OrchestratorConfig",
    "OrchestratorEvent",
    "OrchestratorEventBus",
    "Page",
    "Parameter",
    "PeriodicAgent",
    "PeriodicAsyncAgent",
    "PeriodicProcessAgent",
    "PeriodicThreadAgent",
    "Plugin",
    "PluginSet",
    "RecoverableException",
    "RestartPolicy",
    "RetryPolicy",
    "RingBufferStore",
    "RunMode",
    "Severity",
    "State",
    "Status",
    "StepUnknown",
    "StoreError",
    "Supervisor",
    "TaskCancelled",
    "TaskFailed",
    "TaskSpec",
    "TaskTTLConfig",
    "TaskView",
    "TenutoDurability",
    "TenutoError",
    "TooLarge",
    "Unique",
    "Unreachable",
    "Unstorable",
    "ValidationPolicy",
    "ValidationResult",
    "ValidationSeverity",
    "WaitTimeout",
    "Worker",
    "WorkerConfig",
    "WorkerPoolScheduler",
    "__version__",
    "as_tool",
    "current_context",
    "deferred",
    "goal",
    "hand_off",
    "idempotency_key",
    "open_store",
    "read_plan",
    "task_agent",
    "tool",
]

_HOMES = {
    "tenuto.agents.function": (
        "FunctionAgent",
        "task_agent",
    ),
    "tenuto.agents.llm.agent": ("Agent",),
    "tenuto.agents.llm.context": ("AgentContext",),
    "tenuto.agents.llm.current": ("current_context", "idempotency_key"),
    "tenuto.agents.llm.durability": ("TenutoDurability",),
    "tenuto.agents.llm.team": ("as_tool", "hand_off"),
    "tenuto.agents.llm.tools": ("deferred", "tool"),
    "tenuto.client": (
        "BatchProgress",
        "Client",
        "Page",
        "TaskView",
    ),
    "tenuto.errors": (
        "AgentFailed",
        "AgentStuck",
        "AlreadyFinished",
        "BudgetExceeded",
        "Conflict",
        "Forbidden",
        "InvalidInput",
        "JournalMismatch",
        "ModelError",
        "NotFound",
        "StepUnknown",
        "StoreError",
        "TaskCancelled",
        "TaskFailed",
        "TenutoError",
        "TooLarge",
        "Unreachable",
        "Unstorable",
        "WaitTimeout",
    ),
    "tenuto.observability.agent_logs": ("AgentLogConfig",),
    "tenuto.orchestrator": ("Orchestrator",),
    "tenuto.plans": (
        "GoalBuilder",
        "goal",
        "read_plan",
    ),
    "tenuto.stores": ("open_store",),
    "tenuto.supervisor.agents.asynchronous": ("BaseAsyncAgent",),
    "tenuto.supervisor.agents.base": ("BaseAgent", "BaseProcessAgent", "BaseThreadAgent"),
    "tenuto.supervisor.agents.command": ("CommandAgent",),
    "tenuto.supervisor.agents.looping": (
        "LoopingAgent",
        "LoopingAsyncAgent",
        "LoopingProcessAgent",
        "LoopingThreadAgent",
    ),
    "tenuto.supervisor.agents.periodic": (
        "PeriodicAgent",
        "PeriodicAsyncAgent",
        "PeriodicProcessAgent",
        "PeriodicThreadAgent",
    ),
    "tenuto.supervisor.command_client": ("CommandClient",),
    "tenuto.supervisor.command_interface": ("CommandInterface",),
    "tenuto.supervisor.commands": ("Command", "Parameter"),
    "tenuto.supervisor.config": (
        "ValidationPolicy",
        "ValidationResult",
        "ValidationSeverity",
    ),
    "tenuto.supervisor.dependency_graph": ("DependencyGraph",),
    "tenuto.supervisor.entry": ("AgentEntry",),
    "tenuto.supervisor.event_bus": ("OrchestratorEventBus",),
    "tenuto.supervisor.event_policies": (
        "BucketRingStore",
        "RingBufferStore",
    ),
    "tenuto.supervisor.event_store": ("EventStore",),
    "tenuto.supervisor.events": ("OrchestratorEvent", "Severity"),
    "tenuto.supervisor.exceptions": (
        "NonRecoverableException",
        "RecoverableException",
    ),
    "tenuto.supervisor.heartbeat": ("HeartbeatPlugin",),
    "tenuto.supervisor.lifecycle": ("AgentLifecycleManager",),
    "tenuto.supervisor.message_router": ("MessageRouter",),
    "tenuto.supervisor.plugins": (
        "Plugin",
        "PluginSet",
    ),
    "tenuto.supervisor.restart": ("RestartPolicy",),
    "tenuto.supervisor.settings": (
        "OrchestratorConfig",
        "RunMode",
    ),
    "tenuto.supervisor.states": ("AgentState",),
    "tenuto.supervisor.supervisor": ("Supervisor",),
    "tenuto.supervisor.worker_pool": ("WorkerPoolScheduler",),
    "tenuto.tasks.event": (
        "Event",
        "EventKind",
    ),
    "tenuto.tasks.limits": ("Limit",),
    "tenuto.tasks.money": ("Budget",),
    "tenuto.tasks.retry": ("RetryPolicy",),
    "tenuto.tasks.states": (
        "State",
        "Status",
    ),
    "tenuto.tasks.task": (
        "TaskSpec",
        "Unique",
    ),
    "tenuto.workers.config": (
        "AgentWorkerConfig",
        "MaintenanceWorkerConfig",
        "TaskTTLConfig",
        "WorkerConfig",
    ),
    "tenuto.workers.context": ("Context",),
    "tenuto.workers.worker": ("Worker",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

if PathFinder.find_spec("pydantic_ai") is None:  # `from tenuto import *` must not need an extra
    __all__ = [name for name in __all__ if not _HOME_OF.get(name, "").startswith("tenuto.agents.llm")]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'tenuto' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
