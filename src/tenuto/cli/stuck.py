"""Whether an unfinished goal can go on without anybody doing something: a program must not wait for ever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tenuto.tasks.goal import Goal
from tenuto.tasks.states import ACTIVE, State
from tenuto.tasks.task import Task
from tenuto.tasks.waits import task_topic

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["holding_task", "moves", "paused_one"]

_LOOKED_AT = 1_000


def moves(task: Task) -> bool:
    """Whether the task goes on by itself, or waits for something from outside: a time, an event, an answer."""
    if task.state is State.RUNNING:
        return True
    if task.paused:
        return False
    if task.state is State.WAITING and task.wait is not None:
        return task.wait.until is not None or not all(topic.startswith(task_topic("")) for topic in task.wait.on)
    return task.state in (State.READY, State.SCHEDULED)


def paused_one(tasks: Iterable[Task]) -> Task | None:
    """Where none of `tasks` moves: the first that is paused. None while one of them does."""
    found = None
    for task in tasks:
        if moves(task):
            return None
        if found is None and task.paused and not task.is_final:
            found = task
    return found


async def holding_task(client: Client, goal: Goal) -> Task | None:
    """The paused task that has to be resumed before anything of the goal goes on; None while something does.

    Looks at what the nodes have spawned as well, but only when no node moves, and only if that is not very much.
    """
    if goal.task.is_final or any(moves(task) for task in goal.nodes):
        return None
    page = await client.list_tasks(root=goal.task.id, states=sorted(ACTIVE), goals=False, limit=_LOOKED_AT)
    return None if page.cursor is not None else paused_one(task.stored for task in page)
