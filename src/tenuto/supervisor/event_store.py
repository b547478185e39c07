"""The supervisor's history: the newest events, in memory that does not grow.

    EventStore(capacity=1000, event_policies={"AGENT_HEARTBEAT": BucketRingStore(capacity=2)})

Events without a policy share one ring of `capacity`. A policy gives the events of one name a place of their own, so
that frequent ones (heartbeats) cannot push out rare ones (errors):

    RingBufferStore(capacity)     the newest of that name
    BucketRingStore(capacity)     the newest of that name for each agent

Appending takes the same time however much is kept. A query by name, by agent or by position looks only at what it
returns; other filters look at the records the best index leaves. Every ring evicts its oldest record, which is the
oldest of each of its indexes too: so an index is a queue, cut on one side and extended on the other.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from heapq import merge
from itertools import islice, takewhile
from operator import attrgetter
from threading import Lock
from typing import Any

from tenuto.errors import InvalidInput
from tenuto.supervisor.event_policies import EventPolicy, checked_count
from tenuto.supervisor.events import Record, category_of, event_name_of, plain_name, severity_of
from tenuto.supervisor.payloads import Kept, kept

__all__ = ["EventStore", "HistoryStats"]

_SEQ = attrgetter("seq")


class _IndexedRing:
    """The newest `capacity` events, found by name, by agent or by both."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._all: deque[Record] = deque()
        self._by: dict[object, deque[Record]] = {}

    def append(self, record: Record) -> None:
        self._all.append(record)
        for key in _keys(record):
            found = self._by.get(key)
            if found is None:
                found = self._by[key] = deque()
            found.append(record)
        if len(self._all) > self._capacity:
            for key in _keys(self._all.popleft()):
                index = self._by[key]
                index.popleft()
                if not index:
                    del self._by[key]

    def found(self, event_name: str | None, agent_name: str | None) -> deque[Record]:
        if event_name is None and agent_name is None:
            return self._all
        key = (event_name, agent_name) if event_name and agent_name else event_name or ("", agent_name)
        return self._by.get(key, _NOTHING)

    def __len__(self) -> int:
        return len(self._all)


_NOTHING: deque[Record] = deque(maxlen=0)


def _keys(record: Record) -> tuple[object, ...]:
    if record.agent_name is None:
        return (record.event_name,)
    return record.event_name, ("", record.agent_name), (record.event_name, record.agent_name)


@dataclass(frozen=True)
class HistoryStats:
    """What a history has seen and what it holds."""

    emitted: int
    """events since it was made"""
    kept: int
    capacity: int
    """of the ring that events without a policy share"""
    payload_max_bytes: int
    by_event: Mapping[str, int]
    """events since it was made, by name"""
    kept_by_policy: Mapping[str, int]
    """records that policies hold, by the event's name"""
    oldest_seq: int
    newest_seq: int


class EventStore:
    """The newest events. Safe from any thread."""

    def __init__(
        self,
        capacity: int = 1000,
        payload_max_bytes: int = 256,
        event_policies: Mapping[str | Enum, EventPolicy] | None = None,
    ) -> None:
        """capacity: how many events without a policy are kept.

        payload_max_bytes: the size of a payload as JSON; a larger one is cut, see `payloads`.
        event_policies: by the event's name. A policy object belongs to one store and one name.
        Raises `InvalidInput` that names the argument.
        """
        self.capacity = checked_count("capacity", capacity)
        self.payload_max_bytes = checked_count("payload_max_bytes", payload_max_bytes)
        self._policies: dict[str, EventPolicy] = {}
        for event, policy in (event_policies or {}).items():
            if not callable(getattr(policy, "append", None)) or not callable(getattr(policy, "rings", None)):
                raise InvalidInput(f"event_policies[{event!r}] is no policy: use RingBufferStore or BucketRingStore")
            if any(policy is other for other in self._policies.values()):
                raise InvalidInput(f"event_policies[{event!r}] is also the policy of another event: make one for each")
            self._policies[event_name_of(event)] = policy
        self._ring = _IndexedRing(self.capacity)
        self._counts: Counter[str] = Counter()
        self._seq = self._first = 0
        self._lock = Lock()

    @property
    def last_seq(self) -> int:
        """The position of the newest event; 0 before the first."""
        return self._seq

    def continue_from(self, seq: int) -> None:
        """Numbers the following events from `seq` + 1 at least, so that readers of an older store can go on here."""
        with self._lock:
            if self._seq < seq:
                self._seq = self._first = seq

    def append(
        self,
        event_name: str,
        agent_name: str | None = None,
        payload: Mapping[str, Any] | Kept | None = None,
        *,
        category: str | None = None,
        severity: str | None = None,
    ) -> Record:
        """Records an event, and returns its record. Raises nothing for what the payload holds.

        payload: what the event tells; or that as `kept` gives it, for those who must not wait here.
        """
        content, cut = payload if isinstance(payload, Kept) else kept(payload or {}, self.payload_max_bytes)
        category = category or category_of(event_name)
        severity = severity or severity_of(event_name)
        with self._lock:
            self._seq += 1
            record = Record(self._seq, time.time(), category, event_name, agent_name, severity, content, cut)
            self._counts[event_name] += 1
            policy = self._policies.get(event_name)
            if policy is None:
                self._ring.append(record)
            else:
                policy.append(record)
        return record

    def query(
        self,
        event_name: str | Enum | None = None,
        agent_name: str | None = None,
        category: str | None = None,
        severity: str | None = None,
        after_seq: int | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """The records that fit everything given, from old to new.

        The newest `limit` of them. With `after_seq` the first `limit` behind that position: give the last record's
        `seq` to read on without missing any that are still kept. An event name is taken in any case; one that never
        happened has no records.
        """
        checked_count("limit", limit)
        name = None if event_name is None else plain_name(event_name)
        wanted = _filter(category and category.lower(), severity and severity.lower())
        if limit == 0:
            return []
        if after_seq is not None:
            behind = self._newest_first(
                name, agent_name, lambda all_: takewhile(lambda each: each.seq > after_seq, all_)
            )
            return list(filter(wanted, reversed(behind)))[:limit]
        if wanted is _everything:
            return self._newest_first(name, agent_name, lambda all_: islice(all_, limit))[:limit][::-1]
        return list(islice(filter(wanted, self._newest_first(name, agent_name, iter)), limit))[::-1]

    def _newest_first(
        self, name: str | None, agent_name: str | None, part: Callable[[Iterator[Record]], Iterator[Record]]
    ) -> list[Record]:
        """Of each ring with records of that name and agent the `part` from its newest on; all of them by position."""
        with self._lock:
            found: list[deque[Record]] = []
            if name is None or name not in self._policies:
                found.append(self._ring.found(name, agent_name))
            for event, policy in self._policies.items():
                if name is None or name == event:
                    found.extend(policy.rings(agent_name))
            # A queue must not change while it is read; copying it is quick, and emitters wait only for that.
            copies = [tuple(part(reversed(each))) for each in found if each]
        return list(copies[0]) if len(copies) == 1 else list(merge(*copies, key=_SEQ, reverse=True))

    def stats(self) -> HistoryStats:
        """What was seen, and what is kept."""
        with self._lock:
            policies = {name: len(policy) for name, policy in self._policies.items()}
            return HistoryStats(
                emitted=self._seq - self._first,
                kept=len(self._ring) + sum(policies.values()),
                capacity=self.capacity,
                payload_max_bytes=self.payload_max_bytes,
                by_event=dict(self._counts),
                kept_by_policy=policies,
                oldest_seq=min((ring[0].seq for ring in self._rings() if ring), default=0),
                newest_seq=self._seq if self._seq > self._first else 0,
            )

    def _rings(self) -> Iterator[deque[Record]]:
        yield self._ring.found(None, None)
        for policy in self._policies.values():
            yield from policy.rings(None)


def _everything(_: Record) -> bool:
    return True


def _filter(category: str | None, severity: str | None) -> Callable[[Record], bool]:
    if category is None and severity is None:
        return _everything
    return lambda record: (
        (category is None or record.category == category) and (severity is None or record.severity == severity)
    )
