"""What the end of a task means for others, all of it in the transaction in which it ended.

Tasks that wait for it are woken; its out-edges are decided; a goal whose last node ended gets its outcome; a task that
was cancelled, or ran out of time, takes every unfinished descendant with it. Each of these may end further tasks: they
are worked off one after the other, so that a chain of any length needs no stack.
"""

from __future__ import annotations

from collections import deque

from tenuto.stores.rules.work import Work
from tenuto.tasks import transitions
from tenuto.tasks.goal import SKIPPED, Edge, Fate, edge_fate, outcome_of
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Kind, Task
from tenuto.tasks.waits import task_topic

__all__ = ["ended"]


def ended(work: Work, task: Task, *, with_descendants: bool = False) -> None:
    """`task` has just reached a final state. `with_descendants`: it was cancelled or ran out of time."""
    queue = deque([task])
    if with_descendants:
        why = f"{SKIPPED}{task.id} {_how(task)}"
        for each in work.tables.active_descendants(task.id):
            queue.append(work.apply(each, transitions.cancel(each, work.now, why)))
    while queue:
        task = queue.popleft()
        work.tables.expect_nothing(task.id)
        for waiting in work.tables.expecting(task_topic(task.id)):
            work.come(waiting, task_topic(task.id))
        if task.node is not None and task.parent is not None:
            queue.extend(_decide(work, task))
            goal = _count(work, task.parent)
            if goal is not None:
                queue.append(goal)


def _how(task: Task) -> str:
    return "was cancelled" if task.state is State.CANCELLED else f"failed: {task.error.message if task.error else ''}"


def _decide(work: Work, source: Task) -> list[Task]:
    """Decides the out-edges of a node that has ended; the tasks that this skips."""
    skipped: list[Task] = []
    links = work.tables.links_from(source.id)
    targets = work.tables.tasks(link.target for link in links)
    for link in links:
        target = targets[link.target]
        if target.state is not State.BLOCKED:
            continue
        if edge_fate(link.when, source.state) is Fate.MET:
            if target.unmet > 1:
                work.store(target, transitions.closer(target))
            else:
                work.apply(target, transitions.meet(target, work.now))
        else:
            why = f"{SKIPPED}{source.node} is {source.state.value}"
            skipped.append(work.apply(target, transitions.cancel(target, work.now, why)))
    return skipped


def _count(work: Work, goal_id: str) -> Task | None:
    """One node less to wait for; the goal when that was the last and it has ended now."""
    goal = work.tables.task(goal_id)
    if goal is None or goal.state is not State.WAITING or goal.kind is not Kind.GOAL:
        return None
    goal = work.store(goal, transitions.closer(goal))
    if goal.unmet > 0:
        return None
    names = {node.id: node for node in work.tables.children(goal_id)}
    nodes = {node.node or node.id: node for node in names.values()}
    edges = [
        Edge(names[link.source].node or "", names[link.target].node or "", link.when)
        for link in work.tables.links(goal_id)
    ]
    state, why = outcome_of(nodes, edges)
    if state is State.DONE:
        return work.apply(goal, transitions.finish(goal, work.now, None))
    if state is State.FAILED:
        return work.apply(goal, transitions.fail(goal, work.now, ErrorRecord("NodeFailed", why), why))
    return work.apply(goal, transitions.cancel(goal, work.now, why))
