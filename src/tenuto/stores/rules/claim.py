"""Claiming: whose turn it is, what the limits allow, and putting back what they held up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from tenuto.stores.base import MOST_PARKED, Claim
from tenuto.stores.rules.work import Work
from tenuto.tasks import transitions
from tenuto.tasks.clock import Millis
from tenuto.tasks.fairness import Head, Lane, pick
from tenuto.tasks.lease import Lease
from tenuto.tasks.signal import Message
from tenuto.tasks.task import Task

__all__ = ["FEWEST_LANES", "MOST_REOPENED", "claim", "lease_of", "put_all_back", "put_back"]

FEWEST_LANES = 64
"""An engine hands over as many lanes of an agent's band, unless there are fewer."""

MOST_REOPENED = 256
"""Limits that one look puts tasks back for."""


def claim(work: Work, worker: str, wanted: Claim) -> tuple[list[Lease], bool]:
    """The next tasks for `worker`, at most `wanted.slots`; and whether it is worth asking again at once."""
    put_back(work)
    leases: list[Lease] = []
    gates = _Gates(work)
    agents = sorted(set(wanted.agents))
    courses: dict[int, _Course] = {}
    while True:
        parked = gates.parked
        for band in work.tables.bands(agents):
            if len(leases) == wanted.slots:
                break
            course = courses.get(band) or courses.setdefault(band, _Course(work, agents, band))
            _serve(work, course, gates, worker, wanted, leases)
        if len(leases) == wanted.slots or gates.parked == parked or gates.parked >= MOST_PARKED:
            break
        put_back(work)  # what was parked just now may have left room behind its other limits
    return leases, len(leases) < wanted.slots and gates.parked >= MOST_PARKED


def put_back(work: Work) -> int:
    """Puts parked tasks back where their limit has room again; how many limits were looked at."""
    opened = work.tables.opened(MOST_REOPENED)
    for usage in opened:
        limit = usage.limit
        assert limit is not None  # by `opened`
        room = limit.room(usage.used, usage.tat, work.now)
        left = 0
        for agent, waiting in work.tables.parked_agents(usage.key):
            for task in work.tables.parked(usage.key, agent, room):
                work.store(task, transitions.park(task, ""))
            left += max(waiting - room, 0)
        allowed = limit.allowed_at(usage.tat)
        opens = allowed if limit.rate and left and allowed > work.now else None
        work.tables.set_usage(replace(usage, opens=opens))
    return len(opened)


def put_all_back(work: Work, key: str) -> None:
    """Nothing holds the tasks behind `key` any more."""
    for agent, waiting in work.tables.parked_agents(key):
        for task in work.tables.parked(key, agent, waiting):
            work.store(task, transitions.park(task, ""))


class _Course:
    """How far the virtual times of one band have come in this claim."""

    def __init__(self, work: Work, agents: Sequence[str], band: int) -> None:
        self.band = band
        self.agents = agents
        self.began = {agent: work.tables.virtual(agent, band) for agent in agents}
        self.virtual = dict(self.began)


def _serve(work: Work, course: _Course, gates: _Gates, worker: str, wanted: Claim, leases: list[Lease]) -> None:
    """Takes what one band has, until it is empty or the slots are full."""
    while len(leases) < wanted.slots and gates.parked < MOST_PARKED:
        parked = gates.parked
        lanes = [lane for agent in course.agents for lane in work.tables.lanes(agent, course.band, wanted.slots)]
        for lane in lanes:
            lane.tag = max(lane.tag, course.began[lane.agent])
        bound = _bound(lanes, course, max(wanted.slots, FEWEST_LANES))
        picks = pick(lanes, course.began, course.virtual, wanted.slots - len(leases), gates.admits, bound)
        leases += [_take(work, gates.looked_at.pop(head.number), worker, wanted.lease) for head in picks]
        gates.planned.clear()
        _remember(work, lanes, course)
        if gates.parked == parked:
            return


def _bound(lanes: Sequence[Lane], course: _Course, most: int) -> tuple[float, float, str] | None:
    """Where the turns begin of lanes that were not handed over; None where all were."""
    counts = Counter(lane.agent for lane in lanes)
    if not counts or max(counts.values()) < most:
        return None
    last = {lane.agent: lane for lane in lanes if counts[lane.agent] >= most}  # they come in the order of their tags
    return min((max(lane.tag - course.began[agent], 0.0), lane.tag, lane.owner) for agent, lane in last.items())


class _Gates:
    """Turns away tasks whose limits have no room, and parks them."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.parked = 0
        self.looked_at: dict[int, Task] = {}
        """tasks that were let through"""
        self.planned: dict[str, int] = {}
        """slots of each key promised to tasks that were let through and are not claimed yet"""

    def admits(self, head: Head) -> bool:
        if self.parked >= MOST_PARKED:
            return False
        task = self.work.tables.numbered(head.number)
        full = self._full(task)
        if full:
            self.work.store(task, transitions.park(task, full))
            self.parked += 1
            return False
        for key in task.limits:
            self.planned[key] = self.planned.get(key, 0) + 1
        self.looked_at[head.number] = task
        return True

    def _full(self, task: Task) -> str:
        for key in task.limits:
            usage = self.work.tables.usage(key)
            if usage.limit is None:
                continue
            if usage.limit.room(usage.used, usage.tat, self.work.now) <= self.planned.get(key, 0):
                self._will_open(key)
                return key
        return ""

    def _will_open(self, key: str) -> None:
        usage = self.work.tables.usage(key)
        limit = usage.limit
        if limit is None or not limit.rate:
            return
        tat = usage.tat
        for _ in range(self.planned.get(key, 0)):
            tat = limit.taken(tat, self.work.now)
        at = max(limit.allowed_at(tat), 1)
        if at > self.work.now:
            self.work.tables.set_usage(replace(usage, opens=at))


def _remember(work: Work, lanes: Sequence[Lane], course: _Course) -> None:
    for lane in lanes:
        if lane.taken:
            work.tables.set_tag(lane.agent, course.band, lane.owner, lane.tag)
    for agent, at in course.virtual.items():
        if at != work.tables.virtual(agent, course.band):
            work.tables.set_virtual(agent, course.band, at)


def _take(work: Work, task: Task, worker: str, lease: Millis) -> Lease:
    change = transitions.claim(task, work.now, worker=worker, nonce=work.tables.nonce(), lease=lease)
    if task.limits:
        work.take_slots(task)
    claimed = work.apply(task, change)
    return lease_of(claimed, work.tables.inbox(task.id), work.now)


def lease_of(task: Task, messages: Sequence[Message], now: Millis) -> Lease:
    """A claimed task as its worker receives it."""
    assert task.lease_until is not None
    return Lease(  # by position: twice as fast as by name
        task.id,
        task.attempt,
        task.nonce,
        task.lease_until,
        task.root,
        task.agent,
        task.payload,
        task.owner,
        task.parent,
        task.node,
        task.run,
        task.epoch,
        task.failures,
        task.losses,
        task.steps,
        task.attempt_timeout,
        _time_left(task, now),
        task.retry,
        task.metadata,
        tuple(messages),
    )


def _time_left(task: Task, now: Millis) -> Millis | None:
    if task.deadline is None and task.expires_at is None:
        return None
    return max(min(at for at in (task.deadline, task.expires_at) if at is not None) - now, 0)
