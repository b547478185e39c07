"""The store contract over rows: which verb is carried out in which transaction, and what is read for it beforehand.

What a verb is about to look at is read in bulk before the rules begin: they then find it at hand. Large submissions
are cut into transactions of a few milliseconds each.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from tenuto.errors import InvalidInput
from tenuto.stores.base import Delivered, Exchange, Exchanged, Renewal, Submission, Submitted, WorkerInfo
from tenuto.stores.requests import Request
from tenuto.stores.rows.timers import TimerRows
from tenuto.stores.rules.record import record, renew
from tenuto.stores.rules.signals import signal as deliver
from tenuto.stores.rules.store import RuledStore, answer
from tenuto.stores.rules.submit import submit
from tenuto.stores.rules.work import Work
from tenuto.tasks.clock import Millis
from tenuto.tasks.goal import Tree
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Record, Recorded
from tenuto.tasks.signal import Signal

__all__ = ["MOST_WEIGHT", "RowStore", "answered"]

T = TypeVar("T")

MOST_WEIGHT = 512
"""Rows in one transaction, about: some milliseconds of work."""


class RowStore(RuledStore):
    """A store whose rows are kept by an SQL engine."""

    @abstractmethod
    async def _write(
        self, verb: Callable[[Work], T], weight: int = 1, *, alone: bool = False, wants: Sequence[str] = ()
    ) -> T:
        """Runs `verb` in a transaction, and hints at what it did once that is committed. See `Request`."""

    @abstractmethod
    async def _submit_inside(self, connection: Any, trees: Sequence[Tree]) -> Submitted:
        """Stores `trees` in the transaction that is open on the caller's `connection`."""

    def _submit(self, work: Work, trees: Sequence[Tree]) -> list[Submission]:
        """Stores `trees` in a transaction of the store."""
        return submit(work, trees)

    async def submit(self, trees: Sequence[Tree], *, connection: Any = None) -> Submitted:
        if connection is not None:
            return await self._submit_inside(connection, trees)
        parts = _parts(trees)
        if len(parts) == 1:
            return await self._write(partial(self._submit, trees=trees), _weight(trees), wants=_named(trees))
        answers = await asyncio.gather(
            *(self._write(partial(self._submit, trees=part), _weight(part), wants=_named(part)) for part in parts),
            return_exceptions=True,
        )
        found: list[Submission] = []
        for each in answers:
            if isinstance(each, BaseException):
                raise each
            found.extend(each)
        return found

    async def commit_and_claim(self, exchange: Exchange) -> Exchanged:
        wants = [outcome.hold.task_id for outcome in exchange.outcomes]
        return await self._write(lambda work: answer(work, exchange, self._replies), len(wants) + 1, wants=wants)

    async def renew(self, worker: WorkerInfo, holds: Sequence[Hold], lease: Millis) -> Sequence[Renewal]:
        wants = [hold.task_id for hold in holds]
        return await self._write(lambda work: renew(work, worker, holds, lease), len(wants) + 1, wants=wants)

    async def record(self, records: Sequence[Record], lease: Millis) -> Sequence[Recorded]:
        def verb(work: Work) -> Sequence[Recorded]:
            assert isinstance(work.tables, TimerRows)
            work.tables.load_steps((each.hold.task_id, step.key) for each in records for step in each.steps)
            return record(work, records, lease)

        wants = [each.hold.task_id for each in records] + [child.id for each in records for child in each.spawned]
        return await self._write(verb, len(wants) + sum(len(each.steps) for each in records), wants=wants)

    async def signal(self, signals: Sequence[Signal]) -> Sequence[Delivered]:
        wants = [signal.task_id for signal in signals]
        return await self._write(lambda work: deliver(work, signals), len(wants), wants=wants)


async def answered(request: Request[Any]) -> Any:
    """The answer to a request that is on its way."""
    try:
        return await request.future
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{error.object[:80]!r} is no text: it holds half of a surrogate pair") from None


def _named(trees: Sequence[Tree]) -> list[str]:
    """The ids that `trees` would like to have."""
    return [tree.root.id for tree in trees] + [node.id for tree in trees for node in tree.nodes]


def _weight(trees: Sequence[Tree]) -> int:
    return sum(1 + len(tree.nodes) for tree in trees)


def _parts(trees: Sequence[Tree]) -> list[Sequence[Tree]]:
    """`trees` in transactions of a few milliseconds; in one where an id is used twice, which its rules must see."""
    if len({tree.root.id for tree in trees}) < len(trees):
        return [trees]
    parts: list[Sequence[Tree]] = []
    begin = weight = 0
    for index, tree in enumerate(trees):
        weight += 1 + len(tree.nodes)
        if weight >= MOST_WEIGHT:
            parts.append(trees[begin : index + 1])
            begin, weight = index + 1, 0
    if begin < len(trees) or not parts:
        parts.append(trees[begin:])
    return parts
