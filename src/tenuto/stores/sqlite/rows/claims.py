"""What claims look at: open lanes with their best tasks, and limits with what is parked behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

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
_lanes = msgspec.json.Decoder(list[tuple[int, str, float, float, list[Head], int]])
_usage = msgspec.json.Decoder(Usage)
_usages = msgspec.json.Decoder(list[Usage])
_agents = msgspec.json.Decoder(list[tuple[str, int]])


class ClaimRows(TaskRows):
    """Lanes with heads; limits."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        super().__init__(connection, clock)
        self._usages: dict[str, Usage] = {}
        self._changed_usages: set[str] = set()
        self._next_opens = -math.inf
        """no limit opens before"""

    def bands(self, agents: Sequence[str]) -> list[int]:
        wanted = tuple(agents)
        bands = self.open_bands.get(wanted)
        if bands is None:
            self.write_lanes()
            bands = self.open_bands[wanted] = _numbers.decode(self.value("bands", dump(wanted)))
        return bands

    def lanes(self, agent: str, band: int, want: int) -> list[Lane]:
        self.write_ready()
        self.write_lanes()
        most = max(want, _FEWEST_LANES)
        found: list[Lane] = []
        offset = 0
        while len(found) < most:
            page = _lanes.decode(self.value("lanes", agent, band, most, offset, want) or "[]")
            for number, owner, tag, weight, heads, most_heads in page:
                if not heads:
                    self.close_lane(agent, band, owner)
                    continue
                cut = len(heads) == most_heads < want
                more = partial(self._more, number, heads[-1], want - len(heads)) if cut else None
                found.append(Lane(agent, owner, tag, weight, heads, 0, more))
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
            first += [head.number for head in lane.heads[:share]]
            self._read_together(lane.heads[share:])
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
        if usage.opens is not None:
            self._next_opens = min(self._next_opens, usage.opens)

    def usages(self) -> list[Usage]:
        self.write_usages()
        return _usages.decode(self.value("limits"))

    def opened(self, limit: int) -> list[Usage]:
        if self._next_opens > self.now:
            return []
        self.write_usages()
        opened = _usages.decode(self.value("opened_limits", self.now, limit))
        if not opened:
            at = self.value("next_opens")
            self._next_opens = math.inf if at is None else at
        return opened

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
