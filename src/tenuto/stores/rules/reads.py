"""Reading: pages, feeds, and why a task does not run."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.stores.base import AgentLoad, EventPage, LimitUse, TaskFilter, TaskPage, Why, WorkerInfo
from tenuto.stores.tables import Tables
from tenuto.tasks.event import EventKind
from tenuto.tasks.goal import Edge, Fate, Goal, edge_fate
from tenuto.tasks.limits import Limit
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task
from tenuto.tasks.why import Facts, explain

__all__ = ["agents", "events", "goal", "limits", "tasks", "why", "workers"]

_LIVE = 60_000
"""A worker that was seen within this many milliseconds counts as live."""


def goal(tables: Tables, goal_id: str) -> Goal | None:
    """A goal with its nodes and edges."""
    task = tables.task(goal_id)
    if task is None or task.kind is not Kind.GOAL:
        return None
    nodes = tuple(tables.children(goal_id))
    names = {node.id: node.node or node.id for node in nodes}
    links = tables.links(goal_id)
    return Goal(task, nodes, tuple(Edge(names[link.source], names[link.target], link.when) for link in links))


def tasks(tables: Tables, where: TaskFilter, cursor: str | None, limit: int) -> TaskPage:
    """A page of the list, newest first."""
    before = None if cursor is None else _number(cursor)
    found = tables.find(where, before, max(limit, 1) + 1)
    page = found[: max(limit, 1)]
    return TaskPage(tuple(task for _, task in page), str(page[-1][0]) if len(found) > len(page) else None)


def events(
    tables: Tables,
    after: str | None,
    *,
    task_id: str | None,
    root: str | None,
    owner: str | None,
    kinds: Sequence[EventKind],
    limit: int,
) -> EventPage:
    """A page of the feed."""
    if after == "now":
        return EventPage((), str(tables.last_cursor()))
    begin = 0 if after is None else _number(after)
    found, cursor = tables.events(begin, task_id=task_id, root=root, owner=owner, kinds=kinds, limit=max(limit, 1))
    return EventPage(tuple(found), str(cursor))


def _number(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInput(f"{cursor!r} is no cursor of this store: use one that it returned, or leave it out")
    return int(cursor)


def limits(tables: Tables) -> list[LimitUse]:
    """All defined limits and their use."""
    found: list[LimitUse] = []
    for usage in tables.usages():
        limit = usage.limit
        assert limit is not None  # by `usages`
        parked = sum(count for _, count in tables.parked_agents(usage.key))
        found.append(LimitUse(limit, usage.used, parked, limit.allowed_at(usage.tat)))
    return found


def workers(tables: Tables) -> list[WorkerInfo]:
    """Live workers: heard of within a minute, and not known to have left."""
    return [worker for worker in tables.workers(tables.now - _LIVE) if worker.slots]


def agents(tables: Tables) -> list[AgentLoad]:
    """Agents with unfinished tasks or live workers, by name."""
    loads = {load.agent: load for load in tables.loads()}
    for worker in workers(tables):
        for name in worker.agents:
            load = loads.get(name, AgentLoad(name, 0, 0, 0, 0))
            loads[name] = replace(load, workers=load.workers + 1)
    return [loads[name] for name in sorted(loads)]


def why(tables: Tables, task_id: str) -> Why | None:
    """Why a task does not run."""
    task = tables.task(task_id)
    if task is None:
        return None
    because, until = explain(task, _facts(tables, task), tables.now)
    return Why(task_id, task.state, because, until)


def _facts(tables: Tables, task: Task) -> Facts:
    if task.kind is Kind.GOAL:
        active = tables.active_children(task.id)
        return Facts(needs=tuple((node.node or node.id, node.state) for node in active))
    if task.state is State.BLOCKED:
        links = tables.links_to(task.id)
        sources = tables.tasks(link.source for link in links)
        return Facts(
            needs=tuple(
                (sources[link.source].node or link.source, sources[link.source].state)
                for link in links
                if edge_fate(link.when, sources[link.source].state) is not Fate.MET
            )
        )
    if task.state is not State.READY:
        return Facts()
    serving = sum(task.agent in worker.agents for worker in workers(tables))
    limit: Limit | None = None
    used, allowed = 0, 0
    if task.gate:
        usage = tables.usage(task.gate)
        limit, used = usage.limit, usage.used
        allowed = limit.allowed_at(usage.tat) if limit is not None else 0
    return Facts(limit=limit, limit_used=used, limit_next=allowed, workers=serving)
