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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tenuto._version import __version__

if TYPE_CHECKING:
    from tenuto.agents.function import FunctionAgent, task_agent
    from tenuto.client import Client, Page, TaskView
    from tenuto.errors import (
        AlreadyFinished,
        Conflict,
        InvalidInput,
        JournalMismatch,
        NotFound,
        StepUnknown,
        StoreError,
        TaskCancelled,
        TaskFailed,
        TenutoError,
        TooLarge,
        Unstorable,
        WaitTimeout,
    )
    from tenuto.orchestrator import Orchestrator
    from tenuto.plans import GoalBuilder, goal, read_plan
    from tenuto.stores import open_store
    from tenuto.tasks.event import Event, EventKind
    from tenuto.tasks.limits import Limit
    from tenuto.tasks.retry import RetryPolicy
    from tenuto.tasks.states import State, Status
    from tenuto.tasks.task import TaskSpec, Unique
    from tenuto.workers.config import AgentWorkerConfig, MaintenanceWorkerConfig, TaskTTLConfig, WorkerConfig
    from tenuto.workers.context import Context
    from tenuto.workers.worker import Worker

__all__ = [
    "AgentWorkerConfig",
    "AlreadyFinished",
    "Client",
    "Conflict",
    "Context",
    "Event",
    "EventKind",
    "FunctionAgent",
    "GoalBuilder",
    "InvalidInput",
    "JournalMismatch",
    "Limit",
    "MaintenanceWorkerConfig",
    "NotFound",
    "Orchestrator",
    "Page",
    "RetryPolicy",
    "State",
    "Status",
    "StepUnknown",
    "StoreError",
    "TaskCancelled",
    "TaskFailed",
    "TaskSpec",
    "TaskTTLConfig",
    "TaskView",
    "TenutoError",
    "TooLarge",
    "Unique",
    "Unstorable",
    "WaitTimeout",
    "Worker",
    "WorkerConfig",
    "__version__",
    "goal",
    "open_store",
    "read_plan",
    "task_agent",
]

_HOMES = {
    "tenuto.agents.function": ("FunctionAgent", "task_agent"),
    "tenuto.client": ("Client", "Page", "TaskView"),
    "tenuto.errors": (
        "AlreadyFinished",
        "Conflict",
        "InvalidInput",
        "JournalMismatch",
        "NotFound",
        "StepUnknown",
        "StoreError",
        "TaskCancelled",
        "TaskFailed",
        "TenutoError",
        "TooLarge",
        "Unstorable",
        "WaitTimeout",
    ),
    "tenuto.orchestrator": ("Orchestrator",),
    "tenuto.plans": ("GoalBuilder", "goal", "read_plan"),
    "tenuto.stores": ("open_store",),
    "tenuto.tasks.event": ("Event", "EventKind"),
    "tenuto.tasks.limits": ("Limit",),
    "tenuto.tasks.retry": ("RetryPolicy",),
    "tenuto.tasks.states": ("State", "Status"),
    "tenuto.tasks.task": ("TaskSpec", "Unique"),
    "tenuto.workers.config": ("AgentWorkerConfig", "MaintenanceWorkerConfig", "TaskTTLConfig", "WorkerConfig"),
    "tenuto.workers.context": ("Context",),
    "tenuto.workers.worker": ("Worker",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'tenuto' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
