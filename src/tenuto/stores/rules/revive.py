"""Retrying what has ended: a task, or a goal from where it failed."""

from __future__ import annotations

from tenuto.stores.base import Delivered
from tenuto.stores.rules.work import Work
from tenuto.tasks import transitions
from tenuto.tasks.goal import SKIPPED, Edge, Fate, edge_fate, revivable
from tenuto.tasks.signal import Delivery, Signal
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task

__all__ = ["retry"]

_ACCEPTED = Delivered(Delivery.ACCEPTED)


def retry(work: Work, task: Task, signal: Signal) -> Delivered:
    """Runs `task` again: a done one from the start, a failed or cancelled one with the journal it has."""
    fresh = isinstance(signal.data, dict) and signal.data.get("fresh") is True
    if not task.is_final:
        return _refused(f"{task.id!r} is {task.state.value}: only what has ended can be retried")
    if task.unique is not None:
        holder = work.tables.unique_holder(task.unique.key, task.unique.states, but=task.id)
        if holder is not None:
            return _refused(f"the unique key {task.unique.key!r} of {task.id!r} is held by {holder!r} now")
    if task.kind is Kind.GOAL:
        return _goal(work, task, fresh)
    if task.node is not None and task.parent is not None:
        return _node(work, task, fresh)
    _revive(work, task, fresh)
    return _ACCEPTED


def _refused(detail: str) -> Delivered:
    return Delivered(Delivery.REFUSED, detail)


def _revive(work: Work, task: Task, fresh: bool, unmet: int = 0, *, goal: Task | None = None) -> list[Task]:
    """Revives `task`, and where it goes on with its journal what was cancelled below it because it or `goal` ended: the
    journal names these tasks."""
    fresh = fresh or task.state is State.DONE
    if fresh:
        work.tables.drop_steps(task.id)
    revived = [work.apply(task, transitions.revive(task, work.now, unmet=unmet, fresh=fresh))]
    if fresh:
        return revived
    because = tuple(f"{SKIPPED}{each.id} " for each in (task, goal) if each is not None)
    below = work.tables.children(task.id)
    for child in below:
        below.extend(work.tables.children(child.id))  # the list grows while it is walked
        if child.state is State.CANCELLED and child.reason.startswith(because):
            revived.append(work.apply(child, transitions.revive(child, work.now)))
    return revived


def _goal(work: Work, goal: Task, fresh: bool) -> Delivered:
    plan = _plan(work, goal, None)
    if not plan:
        return _refused(f"the goal {goal.id!r} is {goal.state.value} and has no node that can run again")
    _nodes(work, work.apply(goal, transitions.revive(goal, work.now, unmet=len(plan))), fresh, plan)
    return _ACCEPTED


def _node(work: Work, node: Task, fresh: bool) -> Delivered:
    goal = work.tables.task(node.parent or "")
    if goal is None or goal.is_final:
        return _refused(f"the goal of {node.id!r} has ended: retry the goal {node.parent!r}")
    if node.state is not State.FAILED:
        return _refused(f"{node.id!r} is {node.state.value}: in a running goal, only a failed node can be retried")
    plan = _plan(work, goal, node.node)
    if node.node not in plan:
        return _refused(f"{node.id!r} depends on a node that did not end as it needs: retry that one")
    _nodes(work, work.store(goal, transitions.more(goal, len(plan))), fresh, plan)
    return _ACCEPTED


def _plan(work: Work, goal: Task, only: str | None) -> dict[str, int]:
    """The nodes that can run again, each with the number of its edges that are unmet then."""
    nodes = {node.node or node.id: node for node in work.tables.children(goal.id)}
    names = {node.id: name for name, node in nodes.items()}
    links = work.tables.links(goal.id)
    return revivable(nodes, [Edge(names[link.source], names[link.target], link.when) for link in links], only)


def _nodes(work: Work, goal: Task, fresh: bool, plan: dict[str, int]) -> None:
    """Revives the nodes of `plan`, each after those that it depends on."""
    nodes = {node.node or node.id: node for node in work.tables.children(goal.id)}
    for name, unmet in plan.items():
        node = nodes[name]
        for link in work.tables.links_from(node.id):
            target = work.tables.task(link.target)
            fired = edge_fate(link.when, node.state) is Fate.MET
            if fired and target is not None and target.state is State.BLOCKED and target.node not in plan:
                work.store(target, transitions.farther(target))
        for again in _revive(work, node, fresh, unmet, goal=goal):
            if goal.paused:
                work.apply(again, transitions.pause(again, work.now, goal.reason))
