"""What is kept of events of one name: a ring for all agents, or a ring for each."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Protocol

from tenuto.errors import InvalidInput
from tenuto.supervisor.events import Record

__all__ = ["BucketRingStore", "EventPolicy", "RingBufferStore", "checked_count"]

_LARGEST = 100_000_000
_MOST_BUCKETS = 10_000


class EventPolicy(Protocol):
    """Where the events of one name are kept. Called under the store's lock; `rings` only reads."""

    def append(self, record: Record) -> None:
        """Keeps `record`, the newest so far, and drops what there is no room for."""

    def rings(self, agent_name: str | None) -> Iterable[deque[Record]]:
        """What is kept, each queue from old to new; of one agent, or of all."""

    def __len__(self) -> int: ...


class RingBufferStore:
    """Keeps the newest `capacity` events."""

    def __init__(self, capacity: int) -> None:
        self.capacity = checked_count("capacity", capacity)
        self._records: deque[Record] = deque(maxlen=self.capacity)

    def append(self, record: Record) -> None:
        """Keeps `record`, in place of the oldest where the ring is full."""
        self._records.append(record)

    def rings(self, agent_name: str | None) -> Iterable[deque[Record]]:
        """The one ring, or what it holds of `agent_name`."""
        if agent_name is None:
            return (self._records,)
        return (deque(record for record in self._records if record.agent_name == agent_name),)

    def __len__(self) -> int:
        return len(self._records)


class BucketRingStore:
    """Keeps the newest `capacity` events of each agent, for the 10,000 agents that were heard last."""

    def __init__(self, capacity: int | None = None, *, per_agent_capacity: int | None = None) -> None:
        """`per_agent_capacity` is another name of `capacity`."""
        if (capacity is None) == (per_agent_capacity is None):
            raise InvalidInput("give BucketRingStore either capacity or per_agent_capacity, which mean the same")
        self.capacity = checked_count("capacity", capacity if capacity is not None else per_agent_capacity)
        self._buckets: OrderedDict[str | None, deque[Record]] = OrderedDict()
        self._count = 0

    def append(self, record: Record) -> None:
        """Keeps `record` among those of its agent."""
        bucket = self._buckets.get(record.agent_name)
        if bucket is None:
            bucket = self._buckets[record.agent_name] = deque(maxlen=self.capacity)
            if len(self._buckets) > _MOST_BUCKETS:
                self._count -= len(self._buckets.popitem(last=False)[1])
        else:
            self._buckets.move_to_end(record.agent_name)
        self._count += len(bucket) < self.capacity
        bucket.append(record)

    def rings(self, agent_name: str | None) -> Iterable[deque[Record]]:
        """The bucket of `agent_name`, or all of them."""
        if agent_name is None:
            return self._buckets.values()
        return (self._buckets[agent_name],) if agent_name in self._buckets else ()

    def __len__(self) -> int:
        return self._count


def checked_count(field: str, value: int | None) -> int:
    """`value`, a number of things to keep. Raises `InvalidInput` that names `field`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise InvalidInput(f"{field} must be a whole number from 0 to {_LARGEST:,}, not {value!r}")
    return value
