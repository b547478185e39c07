"""Lanes (agent, band, owner), their tags, and the virtual times of queues.

Lanes are few and looked at by every submission and claim: they stay at hand from one transaction to the next for as
long as nobody else writes.
"""

from __future__ import annotations

import msgspec

from tenuto.stores.sqlite.rows.session import Clock, Connection, Session

__all__ = ["LaneRow", "LaneRows"]

_lane = msgspec.json.Decoder(tuple[int, float, int])


class LaneRow:
    """A lane in the cache."""

    __slots__ = ("number", "open", "tag")

    def __init__(self, number: int, tag: float, is_open: bool) -> None:
        self.number = number
        self.tag = tag
        self.open = is_open
        """whether it may have claimable tasks"""


class LaneRows(Session):
    """Lanes and virtual times."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        super().__init__(connection, clock)
        self._lanes: dict[tuple[str, int, str], LaneRow] = {}
        self._changed_lanes: dict[int, LaneRow] = {}
        self._virtuals: dict[tuple[str, int], float] = {}
        self._changed_virtuals: set[tuple[str, int]] = set()
        self.open_bands: dict[tuple[str, ...], list[int]] = {}
        """by agents, as they were asked for: the bands in which these have open lanes"""

    def lane(self, agent: str, band: int, owner: str) -> LaneRow:
        """A lane; a new one is made where there is none."""
        name = (agent, band, owner)
        lane = self._lanes.get(name)
        if lane is None:
            text = self.value("lane", *name)
            if text is None:
                self.run("insert_lane", *name)
                text = self.value("lane", *name)
            number, tag, is_open = _lane.decode(text)
            lane = self._lanes[name] = LaneRow(number, tag, bool(is_open))
        return lane

    def open_lane(self, agent: str, band: int, owner: str) -> None:
        lane = self.lane(agent, band, owner)
        if not lane.open:
            lane.open = True
            self._changed_lanes[lane.number] = lane
            self.open_bands.clear()

    def close_lane(self, agent: str, band: int, owner: str) -> None:
        """The lane has no claimable tasks."""
        lane = self.lane(agent, band, owner)
        lane.open = False
        self.open_bands.clear()
        self._changed_lanes[lane.number] = lane

    def set_tag(self, agent: str, band: int, owner: str, tag: float) -> None:
        lane = self.lane(agent, band, owner)
        lane.tag = tag
        self._changed_lanes[lane.number] = lane

    def virtual(self, agent: str, band: int) -> float:
        name = (agent, band)
        if name not in self._virtuals:
            self._virtuals[name] = self.value("virtual", *name) or 0.0
        return self._virtuals[name]

    def set_virtual(self, agent: str, band: int, virtual: float) -> None:
        self._virtuals[agent, band] = virtual
        self._changed_virtuals.add((agent, band))

    def set_weight(self, owner: str, weight: float) -> None:
        self.run("put_weight", owner, weight)

    def write_lanes(self) -> None:
        """Writes what was changed, so that queries see it."""
        if self._changed_lanes:
            lanes, self._changed_lanes = self._changed_lanes, {}
            self.run_rows("update_lanes", [(lane.number, lane.tag, int(lane.open)) for lane in lanes.values()])

    def write_virtuals(self) -> None:
        """Writes virtual times."""
        if self._changed_virtuals:
            names, self._changed_virtuals = self._changed_virtuals, set()
            self.run_rows("put_virtuals", [(*name, self._virtuals[name]) for name in sorted(names)])
