"""What claims look at: open lanes with their best tasks, and limits with what is parked behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import overload

import msgspec

from tenuto.stores.sqlite.rows.layout import SEPARATOR, dump, parked_range
from tenuto.stores.sqlite.rows.session import Clock, Connection
from tenuto.stores.sqlite.rows.tasks import TaskRows
from tenuto.stores.tables import Usage
from tenuto.tasks.fairness import Head, Lane
from tenuto.tasks.task import Task

__all__ = ["ClaimRows"]

_FEWEST_LANES = 64
_CHUNK = 32
"""Tasks of one lane that are read together, once the first round has been read."""

_numbers = msgspec.json.Decoder(list[int])
_heads = msgspec.json.Decoder(list[Head])
_lanes = msgspec.json.Decoder(list[tuple[int, str, float, float, int, list[Head]]])
_usage = msgspec.json.Decoder(Usage)
_usages = msgspec.json.Decoder(list[Usage])
_agents = msgspec.json.Decoder(list[tuple[str, int]])


class _Heads(Sequence[Head]):
    """A lane's best tasks: the first of them at hand, the rest read when a claim gets that far."""

    def __init__(self, first: list[Head], length: int, more: Callable[[Head, int], list[Head]]) -> None:
        self.known = first
        self._length = length
        self._more = more

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Head: ...

    @overload
    def __getitem__(self, index: slice) -> list[Head]: ...

    def __getitem__(self, index: int | slice) -> Head | list[Head]:
        if isinstance(index, int) and index < len(self.known):
            return self.known[index]
        if len(self.known) < self._length:
            self.known += self._more(self.known[-1], self._length - len(self.known))
        return self.known[index]


class ClaimRows(TaskRows):
    """Lanes with heads; limits."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        super().__init__(connection, clock)
        self._usages: dict[str, Usage] = {}
        self._changed_usages: set[str] = set()

    def bands(self, agents: Sequence[str]) -> list[int]:
        self.write_lanes()
        return _numbers.decode(self.value("bands", dump(list(agents))))

    def lanes(self, agent: str, band: int, want: int) -> list[Lane]:
        self.write_ready()
        self.write_lanes()
        most = max(want, _FEWEST_LANES)
        found: list[Lane] = []
        offset = 0
        while len(found) < most:
            page = _lanes.decode(self.value("lanes", agent, band, most, offset, want))
            for number, owner, tag, weight, tasks, heads in page:
                if tasks == len(heads) > 0:
                    found.append(Lane(agent, owner, tag, weight, heads))
                elif tasks:
                    found.append(Lane(agent, owner, tag, weight, _Heads(heads, tasks, partial(self._more, number))))
                else:
                    self.close_lane(agent, band, owner)
            if len(page) < most:
                break
            offset += most
        self._plan_reads(found, want)
        return found

    def _more(self, lane: int, after: Head, most: int) -> list[Head]:
        heads = _heads.decode(self.value("heads", lane, after.rank, after.number, most))
        self._read_together(heads)
        return heads

    def _plan_reads(self, lanes: Sequence[Lane], want: int) -> None:
        """Which tasks are read together when one of them is asked for: as many as a fair claim takes of each lane."""
        if not lanes:
            return
        share = -(-want // len(lanes)) + 1
        first: list[int] = []
        for lane in lanes:
            heads = lane.heads.known if isinstance(lane.heads, _Heads) else lane.heads
            first += [head.number for head in heads[:share]]
            self._read_together(heads[share:])
        self._together.update(dict.fromkeys(first, first))

    def _read_together(self, heads: Sequence[Head]) -> None:
        for begin in range(0, len(heads), _CHUNK):
            chunk = [head.number for head in heads[begin : begin + _CHUNK]]
            self._together.update(dict.fromkeys(chunk, chunk))

    # -- limits

    def usage(self, key: str) -> Usage:
        usage = self._usages.get(key)
        if usage is None:
            text = self.value("limit", key)
            usage = self._usages[key] = Usage(key) if text is None else _usage.decode(text)
        return usage

    def set_usage(self, usage: Usage) -> None:
        self._usages[usage.key] = usage
        self._changed_usages.add(usage.key)

    def usages(self) -> list[Usage]:
        self.write_usages()
        return _usages.decode(self.value("limits"))

    def opened(self, limit: int) -> list[Usage]:
        self.write_usages()
        return _usages.decode(self.value("opened_limits", self.now, limit))

    def parked(self, key: str, agent: str, want: int) -> list[Task]:
        self.write_ready()
        return self.listed(_numbers.decode(self.value("parked", f"{key}{SEPARATOR}{agent}", want)))

    def parked_agents(self, key: str) -> list[tuple[str, int]]:
        self.write_ready()
        return _agents.decode(self.value("parked_agents", *parked_range(key)))

    def write_usages(self) -> None:
        """Writes what was changed, so that queries see it."""
        if self._changed_usages:
            keys, self._changed_usages = self._changed_usages, set()
            usages = [self._usages[key] for key in sorted(keys)]
            self.run_rows(
                "put_limits",
                [
                    (usage.key, None if usage.limit is None else dump(usage.limit), usage.used, usage.tat, usage.opens)
                    for usage in usages
                ],
            )
