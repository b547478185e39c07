"""What the conformance tests play with: a clock they move, a store, and workers that do as they are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from tenuto.stores.base import (
    Claim,
    Delivered,
    Exchange,
    Exchanged,
    Renewal,
    Store,
    Submission,
    Swept,
    TimeToLive,
    Verdict,
    WorkerInfo,
)
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.lease import Lease
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Answer, Ending, Outcome, Record, Recorded, Step
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Task, TaskSpec
from tenuto.tasks.waits import Wait

__all__ = ["BOOM", "FOREVER", "LEASE", "START", "Stage", "VirtualClock", "Worker", "raw", "spec", "value"]

START: Millis = 1_750_000_000_000
"""An instant in 2025, at which every test begins."""

LEASE: Millis = 30_000
FOREVER = TimeToLive()
BOOM = ErrorRecord("ValueError", "boom")


class VirtualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now: Millis = START

    def __call__(self) -> Millis:
        return self.now

    def move(self, span: Millis) -> Millis:
        self.now += span
        return self.now


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def value(stored: Raw | None) -> Any:
    assert stored is not None
    return msgspec.json.decode(stored)


def spec(task_id: str = "task-1", **fields: Any) -> TaskSpec:
    return TaskSpec(**{"id": task_id, "agent": "echo", **fields})


def _edge(source: str, target: str) -> Edge:
    return Edge(source, target)


class Worker:
    """One incarnation of a worker: it counts its requests, and reports what it is told to."""

    def __init__(self, store: Store, name: str, agents: tuple[str, ...]) -> None:
        self.store, self.name, self.agents = store, name, agents
        self.number = 0

    async def exchange(self, outcomes: Iterable[Outcome] = (), slots: int = 0, lease: Millis = LEASE) -> Exchanged:
        """The next request: commits `outcomes` and claims up to `slots`."""
        self.number += 1
        claim = Claim(self.agents, slots, lease) if slots else None
        return await self.store.commit_and_claim(Exchange(self.name, self.number, tuple(outcomes), claim))

    async def claim(self, slots: int = 1, lease: Millis = LEASE) -> list[Lease]:
        return list((await self.exchange(slots=slots, lease=lease)).leases)

    async def claim_one(self, lease: Millis = LEASE) -> Lease:
        (one,) = await self.claim(1, lease)
        return one

    async def ids(self, slots: int = 100) -> list[str]:
        """Claims, and names what it got."""
        return [lease.task_id for lease in await self.claim(slots)]

    async def report(self, lease: Lease, ending: Ending, **fields: Any) -> Answer:
        (answer,) = (await self.exchange([Outcome(lease.hold, ending, **fields)])).answers
        return answer

    async def done(self, lease: Lease, result: Any = None, **fields: Any) -> Answer:
        return await self.report(lease, Ending.DONE, result=raw(result), **fields)

    async def fail(self, lease: Lease, error: ErrorRecord = BOOM) -> Answer:
        return await self.report(lease, Ending.FAILED, error=error)

    async def retry(self, lease: Lease, delay: Millis = 1_000, **fields: Any) -> Answer:
        return await self.report(lease, Ending.RETRY, error=BOOM, delay=delay, **fields)

    async def wait(self, lease: Lease, *on: str, **fields: Any) -> Answer:
        return await self.report(lease, Ending.WAIT, wait=Wait(on, **fields))

    async def release(self, lease: Lease, **fields: Any) -> Answer:
        return await self.report(lease, Ending.RELEASE, **fields)

    async def renew(self, *leases: Lease, span: Millis = LEASE) -> list[Renewal]:
        info = WorkerInfo(self.name, self.agents, slots=10, busy=len(leases))
        return list(await self.store.renew(info, [lease.hold for lease in leases], span))

    async def record(self, lease: Lease, *steps: Step, **fields: Any) -> Recorded:
        (recorded,) = await self.store.record([Record(lease.hold, steps, **fields)], LEASE)
        return recorded

    async def run_all(self, result: Any = None) -> list[str]:
        """Claims and finishes until nothing is left; the ids in the order of the claims."""
        order: list[str] = []
        while leases := await self.claim(1):
            order.append(leases[0].task_id)
            assert await self.done(leases[0], result) is Answer.ACCEPTED
        return order


class Stage:
    """A store with its clock, and short ways to what most tests do."""

    def __init__(self, store: Store, clock: VirtualClock) -> None:
        self.store, self.clock = store, clock
        self._workers = 0

    def worker(self, *agents: str, store: Store | None = None) -> Worker:
        self._workers += 1
        return Worker(store or self.store, f"worker-{self._workers}", agents or ("echo",))

    async def submit(self, *trees: TaskSpec | Tree) -> list[Submission]:
        return list(await self.store.submit([each if isinstance(each, Tree) else Tree(each) for each in trees]))

    async def add(self, *trees: TaskSpec | Tree) -> None:
        """Submits what must be new."""
        assert [answer.verdict for answer in await self.submit(*trees)] == [Verdict.CREATED] * len(trees)

    async def add_goal(self, nodes: str | Sequence[TaskSpec], *edges: Edge | str, **root: Any) -> None:
        """A goal `goal-1` of nodes by name ("a b c"), and edges ("a>b" or `Edge`)."""
        specs = tuple(spec(name) for name in nodes.split()) if isinstance(nodes, str) else tuple(nodes)
        links = tuple(edge if isinstance(edge, Edge) else _edge(*edge.split(">")) for edge in edges)
        await self.add(Tree(TaskSpec(**{"id": "goal-1", **root}), specs, links))

    async def task(self, task_id: str = "task-1") -> Task:
        task = await self.store.task(task_id)
        assert task is not None
        return task

    async def blob(self, root: str, key: str) -> bytes | None:
        return (await self.store.blobs(root, [key], 1)).get(key)

    async def state(self, task_id: str = "task-1") -> State:
        return (await self.task(task_id)).state

    async def states(self, *task_ids: str) -> list[str]:
        return [(await self.task(task_id)).state.value for task_id in task_ids]

    async def signal(self, kind: SignalKind, task_id: str = "task-1", **fields: Any) -> Delivered:
        (delivered,) = await self.store.signal([Signal(task_id, kind, **fields)])
        return delivered

    async def sweep(self, ttl: TimeToLive = FOREVER, limit: int = 1_000) -> Swept:
        return await self.store.sweep(limit, ttl)

    async def after(self, span: Millis) -> Swept:
        """Moves the clock and sweeps."""
        self.clock.move(span)
        return await self.sweep()

    async def events(self, task_id: str | None = "task-1", **where: Any) -> list[Event]:
        return list((await self.store.events(task_id=task_id, **where)).events)

    async def kinds(self, task_id: str = "task-1") -> list[str]:
        return [event.kind.value for event in await self.events(task_id)]

    async def last(self, kind: EventKind, task_id: str = "task-1") -> Event:
        return [event for event in await self.events(task_id) if event.kind is kind][-1]

    async def limit(self, key: str, **fields: Any) -> None:
        await self.store.put_limit(Limit(key, **fields))

    async def used(self, key: str) -> tuple[int, int]:
        """Slots used and tasks parked."""
        (use,) = [use for use in await self.store.limits() if use.limit.key == key]
        return use.used, use.parked
