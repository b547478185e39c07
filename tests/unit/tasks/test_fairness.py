"""Fair sharing between owners: shares, work conservation, and that absence is neither paid for nor punished."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tenuto.tasks.fairness import Head, Lane, pick


class Queues:
    """What an engine keeps for the claims of one worker: lanes with their tags, and virtual times by agent."""

    def __init__(self, weights: dict[str, float], agents: tuple[str, ...] = ("echo",)) -> None:
        self.weights, self.agents = weights, agents
        self.tags: dict[tuple[str, str], float] = {}
        self.virtual: dict[str, float] = {}
        self.waiting: dict[tuple[str, str], list[Head]] = {}
        self.owners: dict[Head, str] = {}

    def add(self, owner: str, number: int, priority: int = 0, agent: str = "echo") -> Head:
        head = Head(-priority, number)
        self.waiting.setdefault((agent, owner), []).append(head)
        self.waiting[agent, owner].sort()
        self.owners[head] = owner
        return head

    def claim(self, want: int) -> list[Head]:
        lanes = [
            Lane(agent, owner, self.tags.get((agent, owner), 0.0), self.weights.get(owner, 1.0), heads)
            for (agent, owner), heads in self.waiting.items()
            if heads
        ]
        picks = pick(lanes, dict(self.virtual), self.virtual, want)
        for lane in lanes:
            if lane.taken:
                self.tags[lane.agent, lane.owner] = lane.tag
                del self.waiting[lane.agent, lane.owner][: lane.taken]
        return picks


OWNERS = st.sampled_from(["ann", "bob", "cid", "dee"])


@given(
    weights=st.dictionaries(OWNERS, st.integers(1, 20).map(float), min_size=2, max_size=4),
    wants=st.lists(st.integers(1, 7), min_size=20, max_size=60),
)
def test_owners_with_a_backlog_get_shares_within_one_task_of_their_weights(
    weights: dict[str, float], wants: list[int]
) -> None:
    queues = Queues(weights)
    for place, owner in enumerate(weights):
        for number in range(sum(wants)):
            queues.add(owner, place * 10_000 + number)
    taken: Counter[str] = Counter()
    for want in wants:
        taken.update(queues.owners[head] for head in queues.claim(want))
        for owner, weight in weights.items():
            for other, others in weights.items():
                lead = taken[owner] / weight - taken[other] / others
                assert lead <= 1 / weight + 1 / others + 1e-9, "the bound of start-time fair queueing"


@given(st.lists(st.tuples(OWNERS, st.integers(-3, 3)), max_size=60), st.integers(1, 20))
def test_no_slot_stays_empty_while_a_task_waits(tasks: list[tuple[str, int]], want: int) -> None:
    queues = Queues({})
    for number, (owner, priority) in enumerate(tasks):
        queues.add(owner, number, priority)
    left = len(tasks)
    while left:
        picks = queues.claim(want)
        assert len(picks) == min(want, left)
        left -= len(picks)
    assert queues.claim(want) == []


@given(st.lists(st.integers(-3, 3), max_size=40), st.integers(1, 7))
def test_inside_an_owner_priority_counts_and_then_age(priorities: list[int], want: int) -> None:
    queues = Queues({})
    heads = [queues.add("ann", number, priority) for number, priority in enumerate(priorities)]
    order: list[Head] = []
    while picks := queues.claim(want):
        order += picks
    assert order == sorted(heads)


def test_an_owner_who_was_away_is_neither_owed_nor_punished() -> None:
    queues = Queues({})
    for number in range(1_000):
        queues.add("ann", number)
    for _ in range(100):
        queues.claim(5)
    for number in range(1_000, 1_100):
        queues.add("bob", number)
    taken = Counter(queues.owners[head] for _ in range(10) for head in queues.claim(4))
    assert taken == {"ann": 20, "bob": 20}


def test_an_owner_with_a_thousand_tasks_does_not_delay_the_one_task_of_another() -> None:
    queues = Queues({})
    for number in range(1_000):
        queues.add("crowd", number)
    queues.claim(100)
    lone = queues.add("lone", 5_000)
    assert lone in queues.claim(2)


def test_an_idle_queue_remembers_nothing_against_an_owner() -> None:
    queues = Queues({})
    for number in range(50):
        queues.add("ann", number)
    while queues.claim(10):
        pass
    for number in range(100, 120):
        queues.add("ann" if number % 2 else "bob", number)
    taken = Counter(queues.owners[head] for head in queues.claim(10))
    assert abs(taken["ann"] - taken["bob"]) <= 1


def test_a_worker_with_several_agents_serves_its_owners_fairly_over_all_of_them() -> None:
    queues = Queues({})
    for number in range(100):
        queues.add("ann", number, agent="read")
        queues.add("ann", 1_000 + number, agent="write")
        queues.add("bob", 2_000 + number, agent="read")
    taken = Counter(queues.owners[head] for _ in range(20) for head in queues.claim(3))
    assert abs(taken["ann"] - taken["bob"]) <= 2


def test_a_head_that_is_turned_away_is_charged_to_nobody() -> None:
    lane = Lane("echo", "ann", 0.0, 1.0, [Head(0, number) for number in range(10)])
    virtual: dict[str, float] = {}
    picks = pick([lane], {}, virtual, 3, lambda head: head.number % 2 == 1)
    assert picks == [Head(0, 1), Head(0, 3), Head(0, 5)]
    assert lane.tag == 3.0
    assert lane.taken == 6


def test_nothing_is_picked_from_nothing() -> None:
    assert pick([], {}, {}, 5) == []
    assert pick([Lane("echo", "ann", 0.0, 1.0, [])], {}, {}, 5) == []
