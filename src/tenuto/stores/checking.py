"""Whether what a store holds makes sense: the invariants of `tasks.transitions`, task by task, goal by goal.

Reads only, through the contract, so it works on every engine and beside running workers: a task is checked as it was
when it was read. An engine's own check of its files is separate (`sqlite.inspection`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tenuto.stores.base import Store, TaskFilter
from tenuto.tasks.goal import Goal
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task

__all__ = ["check_store", "goal_violations", "task_violations"]

_PAGE = 500


def task_violations(task: Task) -> list[str]:
    """What is wrong with a stored task, in sentences; empty when nothing is."""
    found = []
    if task.state is State.RUNNING and task.lease_until is None:
        found.append("it is running without a lease")
    if task.lease_until is not None and task.state not in (State.RUNNING, State.CANCELLED, State.FAILED):
        found.append(f"it is {task.state.value} and yet under a lease")
    if task.is_final != (task.finished_at is not None):
        found.append(f"it is {task.state.value}, and its end is {'missing' if task.is_final else 'recorded'}")
    if (task.wait is not None) != (task.state is State.WAITING and task.kind is Kind.TASK):
        found.append(f"it is {task.state.value} {'and yet waits' if task.wait is not None else 'for nothing'}")
    if task.result is not None and task.state is not State.DONE:
        found.append(f"it is {task.state.value} and has a result")
    if task.state is State.BLOCKED and task.unmet < 1:
        found.append("it is blocked by nothing")
    for name, value in (("payload", task.payload), ("result", task.result)):
        try:
            msgspec.json.decode(bytes(value) if value is not None else b"null")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found.append(f"its {name} is not JSON")
    return found


def goal_violations(goal: Goal) -> list[str]:
    """What is wrong between a goal and its nodes."""
    unfinished = sum(not node.is_final for node in goal.nodes)
    if goal.task.is_final:
        return [f"it is {goal.task.state.value} with {unfinished} unfinished tasks"] if unfinished else []
    if goal.task.unmet != unfinished:
        return [f"it waits for {goal.task.unmet} tasks, and {unfinished} are unfinished"]
    return []


async def check_store(store: Store, seen: Callable[[int], None] = lambda count: None) -> list[str]:
    """What is wrong with the tasks and goals of `store`, one sentence each that begins with the id.

    seen: called with the number of tasks and goals that were looked at since the last call.
    """
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.tasks(TaskFilter(), cursor, _PAGE)
        for task in page.tasks:
            found += [f"{task.kind.value} {task.id}: {what}" for what in task_violations(task)]
            if task.kind is Kind.GOAL:
                goal = await store.goal(task.id)
                found += [f"goal {task.id}: {what}" for what in (goal_violations(goal) if goal is not None else ())]
        seen(len(page.tasks))
        cursor = page.cursor
        if cursor is None:
            return found
