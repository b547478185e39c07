"""What claims look at: open lanes with their best tasks, and limits with what is parked behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from operator import attrgetter

import msgspec

from tenuto.stores.rows.lanes import LaneRow
from tenuto.stores.rows.layout import SEPARATOR, dump, parked_range
from tenuto.stores.rows.session import Clock, Statements
from tenuto.stores.rows.tasks import TaskRows
from tenuto.stores.rules.claim import FEWEST_LANES
from tenuto.stores.tables import Usage
from tenuto.tasks.clock import Millis
from tenuto.tasks.fairness import Head, Lane
from tenuto.tasks.task import Task

__all__ = ["ClaimRows"]

_AHEAD = 400
"""Heads, and tasks, that are read for later claims."""

_numbers = msgspec.json.Decoder(list[int])
_heads = msgspec.json.Decoder(list[Head])
_lanes = msgspec.json.Decoder(list[tuple[int, str, float, float, list[Head], int]])
_usage = msgspec.json.Decoder(Usage)
_usages = msgspec.json.Decoder(list[Usage])
_agents = msgspec.json.Decoder(list[tuple[str, int]])
_turn = attrgetter("tag", "owner")


class ClaimRows(TaskRows):
    """Lanes with heads; limits."""

    def __init__(self, statements: Statements, clock: Clock) -> None:
        super().__init__(statements, clock)
        self._usages: dict[str, Usage] = {}
        self._changed_usages: set[str] = set()
        self._next_opens = -math.inf
        """no limit opens before"""
        self.next_timer: tuple[Millis | None] | None = None
        """when a limit opens or a schedule is due; None when that is not known"""

    @property
    def starved(self) -> bool:
        """Claims are made here, and as far as is known there is nothing left to claim."""
        return bool(self.open_bands) and not any(row.heads for rows in self.open_lanes.values() for row in rows)

    def soon(self, want: int) -> list[int]:
        """Tasks that this claim of `want`, and the next ones, will ask for and that are not at hand; none while enough
        of them are."""
        rows = [row for rows in self.open_lanes.values() for row in rows if row.heads]
        share = min(3 * want, _AHEAD) // len(rows) + 1 if rows else 0
        near = [head.number for row in rows for head in row.heads[:share]]
        missing = [number for number in near if number not in self.numbers]
        return missing if 3 * len(missing) > len(near) else []

    def bands(self, agents: Sequence[str]) -> list[int]:
        wanted = tuple(agents)
        bands = self.open_bands.get(wanted)
        if bands is None:
            self.write_lanes()
            bands = self.open_bands[wanted] = _numbers.decode(self.value("bands", dump(wanted)))
        return bands

    def lanes(self, agent: str, band: int, want: int) -> list[Lane]:
        known = self.open_lanes.get((agent, band))
        rows = self._read_lanes(agent, band, want) if known is None else sorted(known, key=_turn)
        share = -(-want // max(len(rows), 1)) + 1
        lanes: list[Lane] = []
        for row in rows:
            if len(row.heads) < share and row.end is not None:
                self._read_further(row, share)
            if row.heads:
                cut = len(row.heads) < want and row.end is not None
                more = partial(self._read_further, row, want - len(row.heads)) if cut else None
                lanes.append(Lane(agent, row.owner, row.tag, row.weight, row.heads[:want], 0, more))
        self._plan_reads(lanes, share, 0 if known is None else _AHEAD)
        return lanes

    def _read_lanes(self, agent: str, band: int, want: int) -> list[LaneRow]:
        self.write_ready()
        self.write_lanes()
        most = max(want, FEWEST_LANES)
        found: list[LaneRow] = []
        offset = 0
        while len(found) < most:
            page = _lanes.decode(self.value("lanes", agent, band, most, offset, want) or "[]")
            for number, owner, tag, weight, heads, most_heads in page:
                row = self.lane_read(agent, band, number, owner, tag, weight)
                row.heads = heads
                row.end = heads[-1] if heads and len(heads) == most_heads else None
                if heads:
                    found.append(row)
                else:
                    self.close_lane(row)
            if len(page) < most:
                break
            offset += most
        if not offset:
            self.remember_open(agent, band, found)
        return found

    def _read_further(self, row: LaneRow, want: int) -> list[Head]:
        """The next `want` heads of a lane; some that later claims will ask for are read with them."""
        self.write_ready()
        most = max(want, _AHEAD)
        assert row.end is not None  # or there are no more
        heads = _heads.decode(self.value("heads", row.number, row.end.rank, row.end.number, most))
        row.heads += heads
        row.end = heads[-1] if len(heads) == most else None
        return heads[:want]

    def _plan_reads(self, lanes: Sequence[Lane], share: int, ahead: int) -> None:
        """Which tasks are read together when one of them is asked for: as many as a fair claim takes of each lane.

        Where nobody else writes, and so what was read stays at hand, some that later claims will ask for are with them.
        """
        if any(head.number not in self.numbers for lane in lanes for head in lane.heads[:share]):
            share = max(share, ahead // len(lanes))
            self.planned = [head.number for lane in lanes for head in lane.heads[:share]]

    # -- limits

    def usage(self, key: str) -> Usage:
        usage = self._usages.get(key)
        if usage is None:
            text = self.value("limit", key)
            usage = self._usages[key] = Usage(key) if text is None else _usage.decode(text)
        return usage

    def set_usage(self, usage: Usage) -> None:
        before = self._usages.get(usage.key)
        if before is None or (before.opens, before.limit) != (usage.opens, usage.limit):
            self.changes.timers = True
            self.next_timer = None
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
            self.changes.limits += keys
            idle = [key for key in keys if self._usages[key].idle]
            if idle:
                self.run("drop_limits", dump(idle))
            usages = [self._usages[key] for key in sorted(keys.difference(idle))]
            self.run_rows(
                "put_limits",
                [
                    (usage.key, None if usage.limit is None else dump(usage.limit), usage.used, usage.tat, usage.opens)
                    for usage in usages
                ],
            )
            for key in idle:
                del self._usages[key]
