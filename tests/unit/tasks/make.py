"""Short ways to the tasks that the unit tests need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from tenuto.tasks import transitions
from tenuto.tasks.goal import SKIPPED
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import ErrorRecord, Task, TaskSpec

NOW = 1_750_000_000_000
"""An instant in 2025."""

BOOM = ErrorRecord("ValueError", "boom")


def spec(task_id: str = "task-1", **fields: Any) -> TaskSpec:
    return TaskSpec(**{"id": task_id, "agent": "echo", **fields})


def ready(task_id: str = "task-1", **fields: Any) -> Task:
    """A task as it is right after its submission."""
    return transitions.admit(spec(task_id, **fields), NOW, task_id=task_id, root=task_id).task


def running(task_id: str = "task-1", **fields: Any) -> Task:
    """A task that a worker claimed for 30 seconds at `NOW`."""
    return transitions.claim(ready(task_id, **fields), NOW, worker="worker-1", nonce=7, lease=30_000).task


def node(name: str, state: State, reason: str = "") -> Task:
    """A goal's node in `state`; `reason` "skipped" marks a node that became unneeded."""
    task = replace(ready(name), node=name, root="goal-1", state=state)
    return replace(
        task,
        finished_at=NOW if state in FINAL else None,
        error=BOOM if state is State.FAILED else None,
        reason=f"{SKIPPED}a needs b" if reason == "skipped" else reason,
    )


def by_name(nodes: Sequence[Task]) -> dict[str, Task]:
    return {str(each.node): each for each in nodes}
