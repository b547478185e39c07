"""A store that remembers what it was told and what it answered: the chaos workers look at theirs through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tenuto.stores.base import Exchange, Exchanged, Renewal, Store, WorkerInfo
from tenuto.tasks.clock import Millis
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Record, Recorded
from tests.chaos.ledger import Lines

__all__ = ["Saw", "Witness"]


class Saw(msgspec.Struct, frozen=True, array_like=True):
    """One answer of the store."""

    what: str
    """`claim`, `outcome`, `record` or `renew`"""
    task: str
    attempt: int
    nonce: int
    answer: str
    detail: str = ""
    """of an outcome: its ending"""


class Witness:
    """Passes everything on to `store`, and notes the answers that decide who holds a task."""

    def __init__(self, store: Store, lines: Lines) -> None:
        self._store = store
        self._lines = lines

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit_and_claim(self, exchange: Exchange) -> Exchanged:
        exchanged = await self._store.commit_and_claim(exchange)
        pairs = zip(exchange.outcomes, exchanged.answers, strict=True)
        seen = [Saw("outcome", *each.hold, answer.value, each.ending.value) for each, answer in pairs]
        seen += [Saw("claim", *lease.hold, "accepted") for lease in exchanged.leases]
        self._note(seen)
        return exchanged

    async def record(self, records: Sequence[Record], lease: Millis) -> Sequence[Recorded]:
        answers = await self._store.record(records, lease)
        pairs = zip(records, answers, strict=True)
        self._note([Saw("record", *each.hold, answer.answer.value) for each, answer in pairs])
        return answers

    async def renew(self, worker: WorkerInfo, holds: Sequence[Hold], lease: Millis) -> Sequence[Renewal]:
        answers = await self._store.renew(worker, holds, lease)
        pairs = zip(holds, answers, strict=True)
        self._note([Saw("renew", *hold, "stale") for hold, answer in pairs if not answer.held])
        return answers

    def _note(self, seen: Sequence[Saw]) -> None:
        if seen:
            self._lines.add(*seen)
