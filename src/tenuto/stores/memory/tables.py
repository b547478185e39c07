"""The rows of the reference model, in dictionaries: what an index would find is found by looking at everything."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from tenuto.stores.base import AgentLoad, TaskFilter, WorkerInfo
from tenuto.stores.memory.inboxes import MemoryInboxes
from tenuto.stores.memory.money import MemoryBooks
from tenuto.stores.tables import Link, Tables, Usage
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.fairness import Head, Lane
from tenuto.tasks.outcome import Step
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task

__all__ = ["MemoryTables"]


class MemoryTables(MemoryBooks, MemoryInboxes, Tables):
    """The rows, in dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.time: Millis = 0
        self.submitted = 0
        self.told = 0
        self.rows: dict[str, Task] = {}
        self.numbers: dict[str, int] = {}
        self.ids: dict[int, str] = {}
        self.unfinished: dict[str, None] = {}
        self.family: dict[str, list[str]] = defaultdict(list)
        self.keys: dict[tuple[str, str], tuple[str, Millis]] = {}
        self.edges: dict[str, list[Link]] = {}
        self.outward: dict[str, list[Link]] = defaultdict(list)
        self.inward: dict[str, list[Link]] = defaultdict(list)
        self.expected: dict[str, set[str]] = {}
        self.books: dict[str, dict[str, Step]] = defaultdict(dict)
        self.large: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.tags: dict[tuple[str, int, str], float] = {}
        self.virtuals: dict[tuple[str, int], float] = {}
        self.weights: dict[str, float] = {}
        self.used: dict[str, Usage] = {}
        self.plans: dict[str, Schedule] = {}
        self.seen: dict[str, WorkerInfo] = {}
        self.feed: dict[int, Event] = {}

    @property
    def now(self) -> Millis:
        return self.time

    def nonce(self) -> int:
        return 1 + secrets.randbelow(2**53 - 1)

    # -- tasks

    def task(self, task_id: str) -> Task | None:
        return self.rows.get(task_id)

    def tasks(self, task_ids: Iterable[str]) -> dict[str, Task]:
        return {task_id: self.rows[task_id] for task_id in task_ids if task_id in self.rows}

    def numbered(self, number: int) -> Task:
        return self.rows[self.ids[number]]

    def insert(self, task: Task) -> None:
        self.submitted += 1
        number = self.submitted
        self.numbers[task.id], self.ids[number] = number, task.id
        if task.parent is not None:
            self.family[task.parent].append(task.id)
        self.update(task)

    def update(self, task: Task, event: Event | None = None) -> None:
        self.rows[task.id] = task
        if event is not None:
            self.add_event(event)
        if task.is_final and task.lease_until is None:
            self.unfinished.pop(task.id, None)
        else:
            self.unfinished[task.id] = None

    def add_event(self, event: Event) -> None:
        self.told += 1
        self.feed[self.told] = replace(event, cursor=str(self.told))

    def children(self, parent: str) -> list[Task]:
        return [self.rows[child] for child in self.family.get(parent, [])]

    def active_children(self, parent: str) -> list[Task]:
        return [child for child in self.children(parent) if not child.is_final]

    def active_descendants(self, task_id: str) -> list[Task]:
        below = self.children(task_id)
        for child in below:
            below.extend(self.children(child.id))  # the list grows while it is walked
        return sorted((task for task in below if not task.is_final), key=lambda task: self.numbers[task.id])

    def find(self, where: TaskFilter, before: int | None, limit: int) -> list[tuple[int, Task]]:
        newest = ((number, self.rows[self.ids[number]]) for number in reversed(self.ids))
        found = ((number, task) for number, task in newest if before is None or number < before)
        return list(islice(((number, task) for number, task in found if where.matches(task)), limit))

    def count_states(self) -> dict[State, int]:
        counts = Counter(task.state for task in self.rows.values() if task.kind is Kind.TASK)
        return {state: counts[state] for state in State}

    def loads(self) -> list[AgentLoad]:
        loads: dict[str, AgentLoad] = {}
        for task in self._unfinished():
            if task.kind is Kind.GOAL or task.is_final:
                continue
            load = loads.get(task.agent, AgentLoad(task.agent, 0, 0, 0, 0))
            ready = task.state is State.READY and not task.paused
            kind = "running" if task.state is State.RUNNING else "ready" if ready else "other"
            loads[task.agent] = replace(load, **{kind: getattr(load, kind) + 1})
        return [loads[agent] for agent in sorted(loads)]

    def _unfinished(self) -> list[Task]:
        """By number; those that are final but whose slots are still held are among them."""
        return [self.rows[task_id] for task_id in sorted(self.unfinished, key=self.numbers.__getitem__)]

    # -- keys

    def keyed(self, owner: str, key: str) -> str | None:
        known = self.keys.get((owner, key))
        return known[0] if known is not None else None

    def add_key(self, owner: str, key: str, task_id: str) -> None:
        self.keys[owner, key] = (task_id, self.now)

    def drop_keys(self, before: Millis, limit: int) -> int:
        old = [name for name, (_, at) in self.keys.items() if at < before][:limit]
        for name in old:
            del self.keys[name]
        return len(old)

    def unique_holder(self, key: str, states: Sequence[State], but: str = "") -> str | None:
        for number in self.ids:
            task = self.rows[self.ids[number]]
            if task.unique is not None and task.unique.key == key and task.state in states and task.id != but:
                return task.id
        return None

    # -- goals

    def add_links(self, goal: str, links: Iterable[Link]) -> None:
        self.edges[goal] = list(links)
        for link in self.edges[goal]:
            self.outward[link.source].append(link)
            self.inward[link.target].append(link)

    def links(self, goal: str) -> list[Link]:
        return self.edges.get(goal, [])

    def links_from(self, source: str) -> list[Link]:
        return self.outward.get(source, [])

    def links_to(self, target: str) -> list[Link]:
        return self.inward.get(target, [])

    # -- waits

    def expect(self, task_id: str, topics: Iterable[str]) -> None:
        self.expected[task_id] = set(topics)

    def expecting(self, topic: str) -> list[str]:
        found = [task_id for task_id, topics in self.expected.items() if topic in topics]
        return sorted(found, key=self.numbers.__getitem__)

    def met(self, task_id: str, topic: str) -> bool:
        if topic not in self.expected.get(task_id, set()):
            return False
        self.expected[task_id].remove(topic)
        return True

    def expect_nothing(self, task_id: str) -> None:
        self.expected.pop(task_id, None)

    # -- journals

    def steps(self, task_id: str) -> list[Step]:
        return list(self.books[task_id].values()) if task_id in self.books else []

    def step(self, task_id: str, key: str) -> Step | None:
        return self.books[task_id].get(key) if task_id in self.books else None

    def put_step(self, task_id: str, step: Step) -> None:
        self.books[task_id][step.key] = step

    def drop_step(self, task_id: str, key: str) -> None:
        self.books[task_id].pop(key, None)

    def drop_steps(self, task_id: str) -> None:
        self.books.pop(task_id, None)

    # -- blobs

    def blobs(self, root: str, keys: Sequence[str], room: int) -> dict[str, bytes]:
        stored = self.large.get(root, {})
        found: dict[str, bytes] = {}
        for key in keys:
            if key in stored:
                room -= len(stored[key])
                if found and room < 0:
                    break
                found[key] = stored[key]
        return found

    def put_blob(self, root: str, key: str, data: bytes) -> None:
        self.large[root].setdefault(key, data)

    # -- claiming

    def bands(self, agents: Sequence[str]) -> list[int]:
        return sorted({task.band for task in self._unfinished() if task.claimable and task.agent in agents})

    def lanes(self, agent: str, band: int, want: int) -> list[Lane]:
        waiting: dict[str, list[Head]] = defaultdict(list)
        for task in self._unfinished():
            if task.claimable and task.agent == agent and task.band == band:
                waiting[task.owner].append(Head(-task.priority, self.numbers[task.id]))
        lanes = [
            Lane(
                agent,
                owner,
                self.tags.get((agent, band, owner), 0.0),
                self.weights.get(owner, 1.0),
                sorted(heads)[:want],
            )
            for owner, heads in waiting.items()
        ]
        return sorted(lanes, key=lambda lane: (lane.tag, lane.owner))

    def open_lane(self, agent: str, band: int, owner: str) -> None:
        """Nothing to do: `lanes` looks at every task."""

    def set_tag(self, agent: str, band: int, owner: str, tag: float) -> None:
        self.tags[agent, band, owner] = tag

    def virtual(self, agent: str, band: int) -> float:
        return self.virtuals.get((agent, band), 0.0)

    def set_virtual(self, agent: str, band: int, virtual: float) -> None:
        self.virtuals[agent, band] = virtual

    def set_weight(self, owner: str, weight: float) -> None:
        self.weights[owner] = weight

    # -- limits

    def usage(self, key: str) -> Usage:
        return self.used.get(key, Usage(key))

    def set_usage(self, usage: Usage) -> None:
        self.used[usage.key] = usage
        if usage.idle:
            del self.used[usage.key]

    def usages(self) -> list[Usage]:
        return sorted((usage for usage in self.used.values() if usage.limit is not None), key=lambda each: each.key)

    def opened(self, limit: int) -> list[Usage]:
        found = [usage for usage in self.usages() if usage.opens is not None and usage.opens <= self.now]
        return sorted(found, key=lambda usage: (usage.opens or 0, usage.key))[:limit]

    def parked(self, key: str, agent: str, want: int) -> list[Task]:
        found = [task for task in self._parked(key) if task.agent == agent]
        return sorted(found, key=lambda task: -task.priority)[:want]

    def parked_agents(self, key: str) -> list[tuple[str, int]]:
        counts: dict[str, int] = defaultdict(int)
        for task in self._parked(key):
            counts[task.agent] += 1
        return sorted(counts.items())

    def _parked(self, key: str) -> list[Task]:
        return [
            task for task in self._unfinished() if task.gate == key and task.state is State.READY and not task.paused
        ]

    # -- time

    def due(self, limit: int) -> list[Task]:
        found = [task for task in self._unfinished() if task.due is not None and task.due <= self.now]
        return sorted(found, key=lambda task: (task.due or 0, self.numbers[task.id]))[:limit]

    def next_due(self) -> Millis | None:
        instants = [task.due for task in self._unfinished()]
        instants += [usage.opens or None for usage in self.usages()]
        instants += [plan.next_at for plan in self.plans.values() if not plan.paused]
        return min((at for at in instants if at is not None), default=None)

    # -- schedules

    def schedule(self, name: str) -> Schedule | None:
        return self.plans.get(name)

    def schedules(self) -> list[Schedule]:
        return [self.plans[name] for name in sorted(self.plans)]

    def due_schedules(self, limit: int) -> list[Schedule]:
        found = [plan for plan in self.schedules() if not plan.paused and (plan.next_at or self.now + 1) <= self.now]
        return sorted(found, key=lambda plan: (plan.next_at or 0, plan.name))[:limit]

    def put_schedule(self, schedule: Schedule) -> None:
        self.plans[schedule.name] = schedule

    def drop_schedule(self, name: str) -> bool:
        return self.plans.pop(name, None) is not None

    # -- workers

    def put_worker(self, worker: WorkerInfo) -> None:
        self.seen[worker.id] = worker

    def workers(self, since: Millis) -> list[WorkerInfo]:
        return [self.seen[name] for name in sorted(self.seen) if self.seen[name].seen_at >= since]

    def drop_workers(self, before: Millis) -> None:
        self.seen = {name: worker for name, worker in self.seen.items() if worker.seen_at >= before}

    # -- feed

    def last_cursor(self) -> int:
        return self.told

    def events(
        self,
        after: int,
        *,
        task_id: str | None,
        root: str | None,
        owner: str | None,
        kinds: Sequence[EventKind],
        limit: int,
    ) -> tuple[list[Event], int]:
        found: list[Event] = []
        for cursor, event in self.feed.items():
            if (
                cursor > after
                and task_id in (None, event.task_id)
                and root in (None, self.rows[event.task_id].root)
                and owner in (None, event.owner)
                and (not kinds or event.kind in kinds)
            ):
                found.append(event)
                if len(found) == limit:
                    return found, cursor
        return found, max(after, self.last_cursor())

    # -- purge

    def ended_roots(self, before: Mapping[State, Millis], limit: int) -> list[str]:
        busy = {self.rows[task_id].root for task_id in self.unfinished}
        ended = [
            (task.finished_at or 0, self.numbers[task.id], task.id)
            for task in self.rows.values()
            if task.id == task.root and task.state in before and task.id not in busy
        ]
        old = sorted(each for each in ended if each[0] < before[self.rows[each[2]].state])
        return [task_id for _, _, task_id in old[:limit]]

    def purge_tree(self, root: str) -> None:
        gone = {task.id for task in self.rows.values() if task.root == root}
        for task_id in gone:
            del self.rows[task_id], self.ids[self.numbers.pop(task_id)]
            for rows in (self.family, self.outward, self.inward, self.expected, self.books):
                rows.pop(task_id, None)
        self.purge_books(root, gone)
        self.edges.pop(root, None)
        self.large.pop(root, None)
        self.forget_inboxes(gone)
        self.feed = {cursor: event for cursor, event in self.feed.items() if event.task_id not in gone}
