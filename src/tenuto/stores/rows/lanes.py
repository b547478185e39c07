"""Lanes (agent, band, owner), their tags and best tasks, and the virtual times of queues.

Lanes are few and looked at by every submission and claim: they stay at hand from one transaction to the next for as
long as nobody else writes. So do their heads, once a claim has read them: every change that makes a task claimable or
not is noted here, so that a claim asks the file only for what lies further back. A lane that is closed has no claimable
tasks; one that is open may have some.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import msgspec

from tenuto.stores.rows.changes import Changes, LaneChange
from tenuto.stores.rows.session import Clock, Session, Statements
from tenuto.tasks.fairness import Head
from tenuto.tasks.states import State
from tenuto.tasks.task import Task

__all__ = ["LaneRow", "LaneRows"]

_MOST_HEADS = 256
"""Heads of one lane that are remembered."""

_NOWHERE = Head(-(2**62), 0)
"""Before every task."""

_MOST_LANES = 64
"""Open lanes of an agent's band that are remembered."""

_lane = msgspec.json.Decoder(tuple[int, float, int, float])


class LaneRow:
    """A lane in the cache."""

    __slots__ = ("agent", "band", "end", "heads", "number", "open", "owner", "tag", "weight")

    def __init__(self, name: tuple[str, int, str], number: int, tag: float, is_open: bool, weight: float) -> None:
        self.agent, self.band, self.owner = name
        self.number = number
        self.tag = tag
        self.open = is_open
        """whether it may have claimable tasks"""
        self.weight = weight
        self.heads: list[Head] = []
        """its claimable tasks up to `end`, best first"""
        self.end = _NOWHERE if is_open else None
        """how far `heads` are known; None: these are all"""

    def add(self, head: Head) -> None:
        """A task has become claimable."""
        if self.end is not None and head > self.end:
            return
        insort(self.heads, head)
        if len(self.heads) > 2 * _MOST_HEADS:
            del self.heads[_MOST_HEADS:]
            self.end = self.heads[-1]

    def remove(self, head: Head) -> None:
        """A task is not claimable any more."""
        heads = self.heads
        at = 0 if heads and heads[0] == head else bisect_left(heads, head)
        if at < len(heads) and heads[at] == head:
            del heads[at]


class LaneRows(Session):
    """Lanes and virtual times."""

    def __init__(self, statements: Statements, clock: Clock) -> None:
        super().__init__(statements, clock)
        self._lanes: dict[tuple[str, int, str], LaneRow] = {}
        self._lane_numbers: dict[int, LaneRow] = {}
        self._changed_lanes: dict[int, LaneRow] = {}
        self._virtuals: dict[tuple[str, int], float] = {}
        self._changed_virtuals: set[tuple[str, int]] = set()
        self._unwritten_lanes: dict[int, tuple[float, bool]] = {}
        self._unwritten_virtuals: dict[tuple[str, int], float] = {}
        self._turned = False
        """lanes have been opened or closed, and that is not written"""
        self.open_bands: dict[tuple[str, ...], list[int]] = {}
        """by agents, as they were asked for: the bands in which these have open lanes, or had them a while ago"""
        self.open_lanes: dict[tuple[str, int], list[LaneRow]] = {}
        """by agent and band, where these are few: all that are open, with their heads"""

    def lane(self, agent: str, band: int, owner: str) -> LaneRow:
        """A lane; a new one is made where there is none."""
        name = (agent, band, owner)
        lane = self._lanes.get(name)
        if lane is None:
            self.write_lanes()
            text = self.value("lane", *name)
            if text is None:
                self.run("insert_lane", *name)
                text = self.value("lane", *name)
            number, tag, is_open, weight = _lane.decode(text)
            lane = self._lanes[name] = self._added(LaneRow(name, number, tag, bool(is_open), weight))
        return lane

    def _added(self, lane: LaneRow) -> LaneRow:
        self._lane_numbers[lane.number] = lane
        return lane

    def lane_read(self, agent: str, band: int, number: int, owner: str, tag: float, weight: float) -> LaneRow:
        """An open lane that a query has found."""
        name = (agent, band, owner)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = self._added(LaneRow(name, number, tag, True, weight))
        return lane

    def remember_open(self, agent: str, band: int, lanes: list[LaneRow]) -> None:
        """These are all the open lanes, and their heads are known."""
        if len(lanes) < _MOST_LANES:
            self.open_lanes[agent, band] = lanes

    def head_moved(self, before: Task | None, task: Task, number: int) -> None:
        """`task` is new, or may have become claimable or not, or have changed its place."""
        name = (task.agent, task.band, task.owner)
        if before is not None and before.claimable:
            known = self._lanes.get(name)
            if known is None:
                self.changes.upset = True  # which lane it was would have to be looked up, and that is rare
            else:
                known.remove(Head(-before.priority, number))
                self.changes.heads.append((known.number, -before.priority, number, False))
        if task.state is State.READY and task.claimable:
            lane = self.lane(*name)
            lane.add(Head(-task.priority, number))
            self.changes.heads.append((lane.number, -task.priority, number, True))

    def open_lane(self, agent: str, band: int, owner: str) -> None:
        lane = self.lane(agent, band, owner)
        if lane.open:
            return
        lane.open = self._turned = True
        self._changed_lanes[lane.number] = lane
        self._opened(lane)

    def _opened(self, lane: LaneRow) -> None:
        agent, band = lane.agent, lane.band
        for agents, bands in self.open_bands.items():
            if agent in agents and band not in bands:
                insort(bands, band)
        known = self.open_lanes.get((agent, band))
        if known is not None:
            known.append(lane)
            if len(known) >= _MOST_LANES:
                del self.open_lanes[agent, band]

    def close_lane(self, lane: LaneRow) -> None:
        """A query has found no claimable tasks in it."""
        lane.open, self._turned = False, True
        lane.heads, lane.end = [], None
        self._changed_lanes[lane.number] = lane

    def set_tag(self, agent: str, band: int, owner: str, tag: float) -> None:
        lane = self.lane(agent, band, owner)
        lane.tag = tag
        self._changed_lanes[lane.number] = lane

    def virtual(self, agent: str, band: int) -> float:
        name = (agent, band)
        if name not in self._virtuals:
            self.write_lanes()
            self._virtuals[name] = self.value("virtual", *name) or 0.0
        return self._virtuals[name]

    def set_virtual(self, agent: str, band: int, virtual: float) -> None:
        self._virtuals[agent, band] = virtual
        self._changed_virtuals.add((agent, band))

    def set_weight(self, owner: str, weight: float) -> None:
        self.run("put_weight", owner, weight)
        self.changes.upset = True
        for lane in self._lanes.values():
            if lane.owner == owner:
                lane.weight = weight

    def note_lanes(self) -> None:
        """What was changed of tags and virtual times is to be written, now or later."""
        for lane in self._changed_lanes.values():
            about = (lane.number, lane.agent, lane.band, lane.owner, lane.tag, lane.open)
            self.changes.lanes.append(LaneChange(*about))
            self._unwritten_lanes[lane.number] = lane.tag, lane.open
        for name in self._changed_virtuals:
            self.changes.virtuals.append((*name, self._virtuals[name]))
            self._unwritten_virtuals[name] = self._virtuals[name]
        self._changed_lanes.clear()
        self._changed_virtuals.clear()

    def write_lanes(self) -> None:
        """Writes tags and virtual times, so that queries see them."""
        self.note_lanes()
        lanes, self._unwritten_lanes = self._unwritten_lanes, {}
        self.run_rows("update_lanes", [(number, tag, int(is_open)) for number, (tag, is_open) in lanes.items()])
        virtuals, self._unwritten_virtuals = self._unwritten_virtuals, {}
        self.run_rows("put_virtuals", [(*name, virtuals[name]) for name in sorted(virtuals)])
        self._turned = False

    def keep_lanes(self) -> None:
        """The transaction ends: writes tags and virtual times, unless what was changed is passed on for a while."""
        if self._turned or not self.statements.passes_on:
            self.write_lanes()
        else:
            self.note_lanes()

    # -- what others have changed

    def follow_lanes(self, changes: Changes) -> None:
        """Takes over what another process has changed of lanes and virtual times."""
        for number, rank, task, claimable in changes.heads:
            lane = self._lane_numbers.get(number)
            if lane is not None and claimable:
                lane.add(Head(rank, task))
            elif lane is not None:
                lane.remove(Head(rank, task))
        for change in changes.lanes:
            self._follow_lane(change)
        for agent, band, virtual in changes.virtuals:
            self._virtuals[agent, band] = virtual
        self.recall(changes)

    def recall(self, changes: Changes) -> None:
        """Takes over what an earlier transaction has passed on and not written."""
        for change in changes.lanes:
            self._unwritten_lanes[change.number] = change.tag, change.open
        for agent, band, virtual in changes.virtuals:
            self._unwritten_virtuals[agent, band] = virtual

    def recall_from(self, other: LaneRows) -> None:
        """The same of what is known by `other`."""
        self._unwritten_lanes.update(other._unwritten_lanes)
        self._unwritten_virtuals.update(other._unwritten_virtuals)

    def all_written(self) -> None:
        """Another process has written all that was passed on."""
        self._unwritten_lanes.clear()
        self._unwritten_virtuals.clear()

    def _follow_lane(self, change: LaneChange) -> None:
        lane = self._lane_numbers.get(change.number)
        if lane is None:
            if not change.open:
                return
            # Its weight, and what stands in it, is not said.
            self.open_lanes.pop((change.agent, change.band), None)
            for agents in [agents for agents in self.open_bands if change.agent in agents]:
                del self.open_bands[agents]
            return
        lane.tag = change.tag
        if change.open and not lane.open:
            lane.open = True
            self._opened(lane)
        elif lane.open and not change.open:
            lane.open = False
            lane.heads, lane.end = [], None
            known = self.open_lanes.get((lane.agent, lane.band), [])
            if lane in known:
                known.remove(lane)
