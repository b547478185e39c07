"""The store contract over rows: which verb is carried out in which transaction, and what is read for it beforehand.

What a verb is about to look at is read in bulk before the rules begin: they then find it at hand. Large submissions
are cut into transactions of a few milliseconds each.
"""

from __future__ import annotations

import asyncio
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from tenuto.errors import InvalidInput, StoreError
from tenuto.stores.base import Delivered, Exchange, Exchanged, Renewal, Submission, Submitted, WorkerInfo
from tenuto.stores.batches import in_parts, tasks_in
from tenuto.stores.requests import Request
from tenuto.stores.rows.timers import TimerRows
from tenuto.stores.rules.record import record, renew
from tenuto.stores.rules.signals import signal as deliver
from tenuto.stores.rules.store import RuledStore, answer
from tenuto.stores.rules.submit import submit
from tenuto.stores.rules.work import Work
from tenuto.stores.tables import Tables
from tenuto.tasks.clock import Millis
from tenuto.tasks.goal import Tree
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Record, Recorded
from tenuto.tasks.signal import Signal

__all__ = ["MOST_WEIGHT", "RowStore"]

S = TypeVar("S")
T = TypeVar("T")

MOST_WEIGHT = 512
"""Rows in one transaction, about: some milliseconds of work."""


class Server(Protocol[S]):
    """A thread with a connection of its own, which answers requests."""

    def put(self, request: Request[S]) -> bool:
        """Adds a request; False when the thread is about to end."""

    def close(self) -> None:
        """Answers all that was asked, then ends. Blocks until then."""


class RowStore(RuledStore):
    """A store whose rows are kept by an SQL engine: one thread writes, another reads."""

    def __init__(self) -> None:
        super().__init__()
        self._writer: Server[Work] | None = None
        self._reader: Server[Tables] | None = None
        self._process = os.getpid()
        self._opening = threading.Lock()

    @abstractmethod
    def _open(self, create: bool) -> None:
        """Has `_writer` and `_reader` in this process. Idempotent. Raises `NotFound` for a store that is to be made
        and may not be (`create`)."""

    @abstractmethod
    def _close(self) -> None:
        """Ends them (`_end_threads`), then whatever else there is. Idempotent."""

    @abstractmethod
    def _closed(self) -> StoreError:
        """The error for whoever comes before or after that, or from a process that was forked off."""

    async def open(self, *, create: bool = True) -> None:
        await asyncio.to_thread(self._open, create)

    async def close(self) -> None:
        if self._process == os.getpid():
            await asyncio.to_thread(self._close)

    def _end_threads(self) -> bool:
        """Ends both threads; False where there were none."""
        writer, reader, self._writer, self._reader = self._writer, self._reader, None, None
        for each in (writer, reader):
            if each is not None:
                each.close()
        return reader is not None

    async def _write(
        self,
        verb: Callable[[Work], T],
        weight: int = 1,
        *,
        alone: bool = False,
        wants: Sequence[str] = (),
        fresh: bool = False,
        claims: int = 0,
    ) -> T:
        """Runs `verb` in a transaction, and hints at what it did once that is committed. See `Request`."""
        writer = self._writer if self._process == os.getpid() else None
        if writer is None:
            raise self._closed()
        request = Request(verb, weight, alone, wants, fresh, claims)
        if not writer.put(request):
            raise self._closed()
        return cast(T, await _answered(request))

    async def _read(self, verb: Callable[[Tables], T]) -> T:
        reader = self._reader if self._process == os.getpid() else None
        if reader is None:
            raise self._closed()
        request = Request(verb)
        if not reader.put(request):
            raise self._closed()
        return cast(T, await _answered(request))

    @abstractmethod
    async def _submit_inside(self, connection: Any, trees: Sequence[Tree]) -> Submitted:
        """Stores `trees` in the transaction that is open on the caller's `connection`."""

    def _submit(self, work: Work, trees: Sequence[Tree]) -> list[Submission]:
        """Stores `trees` in a transaction of the store."""
        return submit(work, trees)

    async def submit(self, trees: Sequence[Tree], *, connection: Any = None) -> Submitted:
        if connection is not None:
            return await self._submit_inside(connection, trees)
        parts = in_parts(trees, MOST_WEIGHT)
        if len(parts) == 1:
            return await self._submit_part(trees)
        answers = await asyncio.gather(*map(self._submit_part, parts), return_exceptions=True)
        found: list[Submission] = []
        for each in answers:
            if isinstance(each, BaseException):
                raise each
            found.extend(each)
        return found

    async def _submit_part(self, trees: Sequence[Tree]) -> list[Submission]:
        return await self._write(partial(self._submit, trees=trees), tasks_in(trees), wants=_named(trees), fresh=True)

    async def commit_and_claim(self, exchange: Exchange) -> Exchanged:
        wants = [outcome.hold.task_id for outcome in exchange.outcomes]
        claims = exchange.claim.slots if exchange.claim is not None else 0
        return await self._write(
            lambda work: answer(work, exchange, self._replies), len(wants) + 1, wants=wants, claims=claims
        )

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


async def _answered(request: Request[Any]) -> Any:
    """The answer to a request that is on its way."""
    try:
        return await request.future
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{error.object[:80]!r} is no text: it holds half of a surrogate pair") from None


def _named(trees: Sequence[Tree]) -> list[str]:
    """The ids that `trees` would like to have."""
    return [tree.root.id for tree in trees] + [node.id for tree in trees for node in tree.nodes]
