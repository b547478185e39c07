"""The half of a `Store` that is the same on every engine with transactions: which rule answers which verb.

An engine derives from `RuledStore` and says how a function of `Tables` is run: in a transaction that writes, or in one
that reads. It may answer a verb in a faster way, as long as nothing visible differs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from tenuto.errors import InvalidInput, NeedsSql
from tenuto.stores.base import (
    AgentLoad,
    Delivered,
    EventPage,
    Exchange,
    Exchanged,
    LimitUse,
    Renewal,
    Store,
    Submitted,
    Swept,
    TaskFilter,
    TaskPage,
    TimeToLive,
    Why,
    WorkerInfo,
)
from tenuto.stores.rules import claim, outcomes, reads, record, submit, sweep
from tenuto.stores.rules.accounts import RuledMoney
from tenuto.stores.rules.rates import start_afresh
from tenuto.stores.rules.signals import signal as deliver
from tenuto.stores.rules.work import Work
from tenuto.stores.tables import Tables
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import EventKind
from tenuto.tasks.goal import Goal, Tree
from tenuto.tasks.lease import Hold
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Record, Recorded, Step
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.signal import Message, Signal
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import Task

__all__ = ["Replies", "RuledStore", "answer"]

T = TypeVar("T")

_MOST_WORKERS = 1_000


class Replies:
    """The last answer to each worker: a request repeated after a lost reply gets the same one."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[int, Exchanged]] = OrderedDict()

    def forget(self, request: Exchange) -> None:
        """The transaction behind the last answer was rolled back."""
        self._last.pop(request.worker, None)

    def known(self, request: Exchange) -> Exchanged | None:
        """The answer that this request got before.

        Raises `InvalidInput` when the worker has had answers to later requests.
        """
        number, answer = self._last.get(request.worker, (0, None))
        if request.number < number:
            raise InvalidInput(f"worker {request.worker!r} sent request {request.number} after request {number}")
        return answer if request.number == number else None

    def keep(self, request: Exchange, answer: Exchanged) -> None:
        """Remembers an answer."""
        self._last[request.worker] = (request.number, answer)
        self._last.move_to_end(request.worker)
        if len(self._last) > _MOST_WORKERS:
            self._last.popitem(last=False)


def answer(work: Work, request: Exchange, replies: Replies) -> Exchanged:
    """Commits, then claims; or gives the answer that was given before."""
    known = replies.known(request)
    if known is not None:
        return known
    answers = outcomes.commit(work, request.outcomes)
    wanted = request.claim
    leases, more = claim.claim(work, request.worker, wanted) if wanted is not None and wanted.slots > 0 else ([], False)
    answered = Exchanged(tuple(answers), tuple(leases), more, work.tables.next_due(), work.now)
    replies.keep(request, answered)
    work.undo.append(lambda: replies.forget(request))
    return answered


class RuledStore(RuledMoney, Store):
    """A store that answers by the rules."""

    def __init__(self) -> None:
        self._replies = Replies()

    @abstractmethod
    async def _write(self, verb: Callable[[Work], T]) -> T:
        """Runs `verb` in a transaction, and hints at what it did once that is committed."""

    @abstractmethod
    async def _read(self, verb: Callable[[Tables], T]) -> T:
        """Runs `verb` on a consistent state of the store that holds everything answered before."""

    # writing

    async def submit(self, trees: Sequence[Tree], *, connection: Any = None) -> Submitted:
        if connection is not None:
            raise NeedsSql(f"{self.url} cannot submit inside a connection of the caller: it needs SQLite or PostgreSQL")
        return await self._write(lambda work: submit.submit(work, trees))

    async def commit_and_claim(self, exchange: Exchange) -> Exchanged:
        return await self._write(lambda work: answer(work, exchange, self._replies))

    async def renew(self, worker: WorkerInfo, holds: Sequence[Hold], lease: Millis) -> Sequence[Renewal]:
        return await self._write(lambda work: record.renew(work, worker, holds, lease))

    async def record(self, records: Sequence[Record], lease: Millis) -> Sequence[Recorded]:
        return await self._write(lambda work: record.record(work, records, lease))

    async def transact(self, hold: Hold, step: Step, work: Callable[[Any], bytes], lease: Millis) -> Recorded:
        raise NeedsSql(f"{self.url} has no SQL: a transaction of the task's own needs SQLite or PostgreSQL")

    async def signal(self, signals: Sequence[Signal]) -> Sequence[Delivered]:
        return await self._write(lambda work: deliver(work, signals))

    async def sweep(self, limit: int, ttl: TimeToLive) -> Swept:
        return await self._write(lambda work: sweep.sweep(work, max(limit, 1), ttl))

    async def put_schedule(self, schedule: Schedule) -> Schedule:
        return await self._write(lambda work: sweep.put_schedule(work, schedule))

    async def delete_schedule(self, name: str) -> bool:
        return await self._write(lambda work: work.tables.drop_schedule(name))

    async def purge(self, before: Millis, states: Sequence[State] = (), limit: int = 1_000) -> int:
        def verb(work: Work) -> int:
            ended = {state: before for state in states or FINAL if state in FINAL}
            roots = work.tables.ended_roots(ended, limit)
            for root in roots:
                work.tables.purge_tree(root)
            return len(roots)

        return await self._write(verb)

    async def put_limit(self, limit: Limit) -> None:
        limit.check()
        await self._write(lambda work: submit.define(work, limit))

    async def drop_limit(self, key: str) -> bool:
        def verb(work: Work) -> bool:
            usage = work.tables.usage(key)
            if usage.limit is None:
                return False
            claim.put_all_back(work, key)
            start_afresh(work.tables, key)
            work.tables.set_usage(replace(usage, limit=None, tat=0.0, opens=None))
            return True

        return await self._write(verb)

    async def put_weight(self, owner: str, weight: float) -> None:
        if not 0.001 <= weight <= 1000.0:
            raise InvalidInput(f"the weight of owner {owner!r} must lie between 0.001 and 1000, not {weight}")
        await self._write(lambda work: work.tables.set_weight(owner, weight))

    # reading

    async def limits(self) -> Sequence[LimitUse]:
        return await self._read(reads.limits)

    async def blobs(self, root: str, keys: Sequence[str], room: int) -> Mapping[str, bytes]:
        return await self._read(lambda tables: tables.blobs(root, keys, room))

    async def task(self, task_id: str) -> Task | None:
        return await self._read(lambda tables: tables.task(task_id))

    async def tasks_by_id(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        return await self._read(lambda tables: tables.tasks(task_ids))

    async def tasks(self, where: TaskFilter, cursor: str | None = None, limit: int = 100) -> TaskPage:
        return await self._read(lambda tables: reads.tasks(tables, where, cursor, limit))

    async def goal(self, goal_id: str) -> Goal | None:
        return await self._read(lambda tables: reads.goal(tables, goal_id))

    async def journal(self, task_id: str) -> Sequence[Step]:
        return await self._read(lambda tables: tables.steps(task_id))

    async def inbox(self, task_id: str) -> Sequence[Message]:
        return await self._read(lambda tables: tables.inbox(task_id))

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
        return await self._read(
            lambda tables: reads.events(
                tables, after, task_id=task_id, root=root, owner=owner, kinds=kinds, limit=limit
            )
        )

    async def schedules(self) -> Sequence[Schedule]:
        return await self._read(lambda tables: tables.schedules())

    async def agents(self) -> Sequence[AgentLoad]:
        return await self._read(reads.agents)

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self._read(reads.workers)

    async def stats(self) -> Mapping[State, int]:
        return await self._read(lambda tables: tables.count_states())

    async def why(self, task_id: str) -> Why | None:
        return await self._read(lambda tables: reads.why(tables, task_id))
