"""Whose turn it is: start-time fair queueing between owners.

Ready tasks stand in *lanes*, one for each (agent, band, owner). Inside a band every owner gets its share of
the claims, in proportion to its weight, however many tasks it has queued; an owner who was away is neither
owed for it nor punished. (Goyal, Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996.)

    start(lane)  = max(V(agent), tag(lane))       assigned when the claim looks at the lane
    tag(lane)    = start + 1 / weight             after one of its tasks was taken
    V(agent)     = the largest start taken so far: the virtual time of that agent's queue

A worker that serves several agents merges their lanes: the owner with the smallest total lag (start - V)
is next, and gives its best task over all of its lanes. Inside an owner: priority, then age.

`pick` is a function of values. An engine hands it, for each agent of the claim, the `want` lanes with the
lowest (tag, owner), and of each lane its best `want` tasks: more are needed only where `admits` turned some away,
and then it is called again with the same `began`: before anyone is served whose turn comes after lanes that were not
handed over (`bound`). An engine may hand over fewer tasks of a lane at first, with a way
to get `more`: with many owners, a claim takes few tasks of each.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

__all__ = ["Head", "Lane", "pick"]


class Head(NamedTuple):
    """A ready task's place inside its owner; the smallest is taken first."""

    rank: int
    """minus the priority"""
    number: int
    """rises with age: the order of submission"""


class Lane(msgspec.Struct):
    """The ready tasks of one owner for one agent, as a claim sees them."""

    agent: str
    owner: str
    tag: float
    weight: float
    heads: list[Head]
    """best first"""
    taken: int = 0
    """how many of `heads` were picked or passed over"""
    more: Callable[[], list[Head]] | None = None
    """reads the heads after these; None when these are all"""

    def has_next(self) -> bool:
        """Whether there is a head that was neither picked nor passed over."""
        if self.taken == len(self.heads) and self.more is not None:
            more, self.more = self.more, None
            self.heads += more()
        return self.taken < len(self.heads)


def pick(
    lanes: Sequence[Lane],
    began: Mapping[str, float],
    virtual: dict[str, float],
    want: int,
    admits: Callable[[Head], bool] = lambda head: True,
    bound: tuple[float, float, str] | None = None,
) -> list[Head]:
    """The next tasks to claim from `lanes` of one band, in order, at most `want`.

    `began` are the virtual times by agent when the claim began, `virtual` the same as the claim goes on: they and the
    lanes' `taken` and `tag` are advanced. A head that `admits` turns away is passed over, and charged to nobody.
    `bound`: lag, tag and owner of a lane after which there are others; nobody is served whose turn comes later.
    """
    owners: dict[str, list[Lane]] = {}
    for lane in lanes:
        if lane.has_next():
            owners.setdefault(lane.owner, []).append(lane)

    def turn(owner: str) -> tuple[float, float, str]:
        mine = owners[owner]
        if len(mine) == 1:  # by far the most frequent
            lane = mine[0]
            return max(lane.tag - began.get(lane.agent, 0.0), 0.0), lane.tag, owner
        lag = sum(max(lane.tag - began.get(lane.agent, 0.0), 0.0) for lane in mine)
        return lag, min(lane.tag for lane in mine), owner

    queue = [turn(owner) for owner in owners]
    heapq.heapify(queue)
    picks: list[Head] = []
    while queue and len(picks) < want and (bound is None or queue[0] <= bound):
        owner = queue[0][2]
        ready = owners[owner]
        if len(ready) > 1 or ready[0].taken == len(ready[0].heads):
            ready = [lane for lane in ready if lane.has_next()]
            if not ready:
                heapq.heappop(queue)
                continue
        lane = ready[0] if len(ready) == 1 else min(ready, key=lambda each: each.heads[each.taken])
        head = lane.heads[lane.taken]
        lane.taken += 1
        if not admits(head):
            continue
        start = max(lane.tag, began.get(lane.agent, 0.0))
        virtual[lane.agent] = max(virtual.get(lane.agent, 0.0), start)
        lane.tag = start + 1.0 / lane.weight
        picks.append(head)
        heapq.heapreplace(queue, turn(owner))
    return picks
