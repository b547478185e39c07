"""Reading: tasks, pages, feeds, and why a task does not run.

A read is a script, and so sees one state of the store; what is long is read in parts of bounded size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.stores.base import AgentLoad, EventPage, LimitUse, Store, TaskFilter, TaskPage, Why, WorkerInfo
from tenuto.stores.redis.codec import (
    edges_of,
    event_of,
    limit_of,
    message_of,
    pack,
    schedule_of,
    steps_of,
    task_of,
    worker_of,
)
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.goal import Goal
from tenuto.tasks.outcome import Step
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.signal import Message
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task
from tenuto.tasks.why import Facts, explain

__all__ = ["Reads"]

_LIVE = 60_000
"""A worker that was seen within this many milliseconds counts as live."""

_MOST_ROWS = 500
"""Tasks or events that one script looks at."""

_STATES = (
    State.BLOCKED,
    State.READY,
    State.SCHEDULED,
    State.RUNNING,
    State.WAITING,
    State.DONE,
    State.FAILED,
    State.CANCELLED,
)


class Reads(Store):
    """The half of a Redis store that reads."""

    @abstractmethod
    def _now(self) -> bytes:
        """The instant of an injected clock; empty where the server's own is used."""

    @abstractmethod
    async def _read(self, name: str, *given: Any) -> Any:
        """What the script in `lua/reads/` answers, bytes as they came."""

    @abstractmethod
    async def _fetch(self, command: str, key: str, *given: Any) -> Any:
        """What a plain command on a key of this store answers."""

    async def now(self) -> Millis:
        """The engine's clock."""
        return int((await self._read("workers", self._now(), 0))[0])

    # -- tasks

    async def task(self, task_id: str) -> Task | None:
        return (await self.tasks_by_id([task_id])).get(task_id)

    async def tasks_by_id(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        found: dict[str, Task] = {}
        for ids in _in_parts([task_id for task_id in task_ids if _is_text(task_id)]):
            for task_id, flat in zip(ids, await self._read("tasks", *ids), strict=True):
                task = task_of(task_id, flat)
                if task is not None:
                    found[task_id] = task
        return found

    async def tasks(self, where: TaskFilter, cursor: str | None = None, limit: int = 100) -> TaskPage:
        before = None if cursor is None else _number(cursor)
        limit = max(limit, 1)
        found: list[tuple[int, Task]] = []
        while len(found) <= limit:
            given = _filter(where) | {"limit": limit + 1 - len(found), "most": _MOST_ROWS}
            if before is not None:
                given["before"] = before
            head, *rows = await self._read("find", pack(given))
            found += map(_numbered, rows)
            if not head:
                break
            before = int(head)
        page = found[:limit]
        return TaskPage(tuple(task for _, task in page), str(page[-1][0]) if len(found) > limit else None)

    async def goal(self, goal_id: str) -> Goal | None:
        if not _is_text(goal_id):
            return None
        flat, edges, ids, rows = await self._read("goal", goal_id, _MOST_ROWS)
        task = task_of(goal_id, flat)
        if task is None or task.kind is not Kind.GOAL:
            return None
        names = [each.decode() for each in ids]
        nodes = [task_of(name, row) for name, row in zip(names, rows, strict=False)]
        if len(names) > len(rows):
            rest = await self.tasks_by_id(names[len(rows) :])
            nodes += rest.values()
        return Goal(task, tuple(node for node in nodes if node is not None), edges_of(edges))

    async def journal(self, task_id: str) -> Sequence[Step]:
        return steps_of(await self._fetch("HGETALL", f"journal:{task_id}"))

    async def inbox(self, task_id: str) -> Sequence[Message]:
        flat = await self._fetch("HGETALL", f"inbox:{task_id}")
        messages = [message_of(int(flat[at]), flat[at + 1].decode()) for at in range(0, len(flat), 2)]
        return sorted(messages, key=lambda message: message.number)

    async def blobs(self, root: str, keys: Sequence[str], room: int) -> Mapping[str, bytes]:
        flat = await self._read("blobs", root, room, *keys)
        return {flat[at].decode(): flat[at + 1] for at in range(0, len(flat), 2)}

    # -- the feed

    async def events(
        self,
        after: str | None = None,
        *,
        task_id: str | None = None,
        root: str | None = None,
        owner: str | None = None,
        kinds: Sequence[EventKind] = (),
        limit: int = 1_000,
    ) -> EventPage:
        if after == "now":
            return EventPage((), (await self._fetch("HGET", "store", "cursor") or b"0").decode())
        at = 0 if after is None else _number(after)
        where: dict[str, Any] = {
            name: value for name, value in (("task", task_id), ("root", root), ("owner", owner)) if value is not None
        }
        if kinds:
            where["kinds"] = [kind.value for kind in kinds]
        found: list[Event] = []
        more, left = True, max(limit, 1)
        while more and left:
            given = where | {"after": at, "limit": left, "most": _MOST_ROWS}
            cursor, more, *entries = await self._read("feed", pack(given))
            found += map(event_of, entries)
            at, left = int(cursor), left - len(entries)
        return EventPage(tuple(found), str(at))

    # -- what there is

    async def limits(self) -> Sequence[LimitUse]:
        found: list[LimitUse] = []
        for parts in await self._read("limits"):
            limit, used, tat = limit_of(parts)
            found.append(LimitUse(limit, used, int(parts[7]), limit.allowed_at(tat)))
        return sorted(found, key=lambda use: use.limit.key)

    async def schedules(self) -> Sequence[Schedule]:
        found = map(schedule_of, await self._fetch("HVALS", "schedules"))
        return sorted(found, key=lambda schedule: schedule.name)

    async def workers(self) -> Sequence[WorkerInfo]:
        return (await self._workers())[1]

    async def _workers(self) -> tuple[Millis, list[WorkerInfo]]:
        now, *rows = await self._read("workers", self._now(), _LIVE)
        found = [worker_of(text, seen) for text, seen in rows]
        return int(now), sorted((worker for worker in found if worker.slots), key=lambda worker: worker.id)

    async def agents(self) -> Sequence[AgentLoad]:
        loads: dict[str, AgentLoad] = {}
        for agent, blocked, ready, scheduled, running, waiting, _, _, _, paused in await self._read("counts"):
            name, other = agent.decode(), blocked + scheduled + waiting + paused
            if ready + running + other:
                loads[name] = AgentLoad(name, ready - paused, running, other, 0)
        for worker in await self.workers():
            for name in worker.agents:
                load = loads.get(name, AgentLoad(name, 0, 0, 0, 0))
                loads[name] = replace(load, workers=load.workers + 1)
        return [loads[name] for name in sorted(loads)]

    async def stats(self) -> Mapping[State, int]:
        counts = dict.fromkeys(State, 0)
        for _, *numbers, _ in await self._read("counts"):
            for state, number in zip(_STATES, numbers, strict=True):
                counts[state] += number
        return counts

    async def why(self, task_id: str) -> Why | None:
        if not _is_text(task_id):
            return None
        flat, needs, gate = await self._read("needs", task_id)
        task = task_of(task_id, flat)
        if task is None:
            return None
        now, workers = await self._workers()
        facts = Facts(needs=tuple((name.decode(), State(state.decode())) for name, state in needs))
        if task.state is State.READY:
            facts = Facts(workers=sum(task.agent in worker.agents for worker in workers))
            if gate:
                limit, used, tat = limit_of(gate)
                facts = Facts(limit=limit, limit_used=used, limit_next=limit.allowed_at(tat), workers=facts.workers)
        because, until = explain(task, facts, now)
        return Why(task_id, task.state, because, until)


def _is_text(name: str) -> bool:
    """Whether anything can be stored under `name`: not when it holds half of a surrogate pair."""
    return name.isascii() or name == name.encode("utf-8", "replace").decode()


def _in_parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), _MOST_ROWS):
        yield ids[first : first + _MOST_ROWS]


def _number(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInput(f"{cursor!r} is no cursor of this store: use one that it returned, or leave it out")
    return int(cursor)


def _filter(where: TaskFilter) -> dict[str, Any]:
    given: dict[str, Any] = {"roots_only": where.roots_only}
    if where.states:
        given["states"] = [state.value for state in where.states]
    if where.kind is not None:
        given["kind"] = where.kind.value
    for name in ("agent", "owner", "root", "parent", "tag"):
        value = getattr(where, name)
        if value is not None:
            given[name] = value
    return given


def _numbered(parts: Sequence[Any]) -> tuple[int, Task]:
    """A task as `find.lua` gives it: its id, its number, and its fields and values."""
    task_id, number, flat = parts
    task = task_of(task_id.decode(), flat)
    assert task is not None  # it was found
    return int(number), task
