"""What a program gets to see of a task: Python values and datetimes in UTC, in place of stored text and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, overload

from tenuto.tasks.clock import Millis
from tenuto.tasks.states import State, Status
from tenuto.tasks.task import ErrorRecord, Progress, Task
from tenuto.tasks.values import decode

__all__ = ["Page", "TaskView", "moment", "view"]


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as it was when it was read. It never changes: read it again to see more."""

    id: str
    agent: str
    """empty for a goal"""
    owner_id: str
    title: str
    status: Status
    """queued, processing, completed, failed or cancelled"""
    state: State
    """the same in full: blocked, ready, scheduled, running, waiting, done, failed or cancelled"""
    payload: Any
    result: Any
    """None unless it is done"""
    error: ErrorRecord | None
    """of the last failed attempt: type, message, traceback"""
    reason: str
    """why it is paused, cancelled or was skipped"""
    progress: Progress | None
    paused: bool
    priority: int
    attempt: int
    """rises with every claim"""
    failures: int
    """failed attempts in a row"""
    run: int
    """rises when a finished task is asked to run again"""
    parent: str | None
    root: str
    node: str | None
    """its name inside its goal"""
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    run_at: datetime | None
    """not before this instant"""
    deadline: datetime | None
    stored: Task = field(repr=False, compare=False)
    """everything that the store keeps of it"""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list of tasks, newest first. Iterates over its tasks."""

    tasks: tuple[TaskView, ...]
    cursor: str | None
    """give it to read on; None at the end"""

    def __iter__(self) -> Iterator[TaskView]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> TaskView:
        return self.tasks[index]


@overload
def moment(at: Millis) -> datetime: ...
@overload
def moment(at: None) -> None: ...
def moment(at: Millis | None) -> datetime | None:
    """`at` as a datetime in UTC."""
    return None if at is None else datetime.fromtimestamp(at / 1000, UTC)


def view(task: Task, payload: Any = ..., result: Any = ...) -> TaskView:
    """`task` for people. Values that were read apart are given; else a large one shows as its stored reference."""
    return TaskView(
        id=task.id,
        agent=task.agent,
        owner_id=task.owner,
        title=task.title,
        status=task.status,
        state=task.state,
        payload=decode(bytes(task.payload)) if payload is ... else payload,
        result=_shown(task) if result is ... else result,
        error=task.error,
        reason=task.reason,
        progress=task.progress,
        paused=task.paused,
        priority=task.priority,
        attempt=task.attempt,
        failures=task.failures,
        run=task.run,
        parent=task.parent,
        root=task.root,
        node=task.node,
        tags=task.tags,
        metadata=task.metadata,
        created_at=moment(task.created_at),
        started_at=moment(task.started_at),
        finished_at=moment(task.finished_at),
        run_at=moment(task.run_at),
        deadline=moment(task.deadline),
        stored=task,
    )


def _shown(task: Task) -> Any:
    return None if task.result is None else decode(bytes(task.result))
