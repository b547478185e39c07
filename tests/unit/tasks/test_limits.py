"""Limits: what the generic cell rate algorithm lets through, and how much room there is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import InvalidInput
from tenuto.tasks.limits import Limit
from tests.unit.tasks.make import NOW

RATES = st.builds(
    Limit,
    key=st.just("api"),
    rate=st.integers(1, 50),
    period=st.integers(1, 10_000),
    burst=st.integers(1, 20),
)
GAPS = st.lists(st.integers(0, 2_000) | st.integers(0, 30), min_size=1, max_size=200)


def claims_of_a_greedy_worker(limit: Limit, gaps: list[int]) -> list[int]:
    """The instants at which somebody who always takes all the room takes it."""
    tat, now, taken = 0.0, NOW, []
    for gap in gaps:
        now += gap
        for _ in range(limit.room(0, tat, now)):
            tat = limit.taken(tat, now)
            taken.append(now)
    return taken


@given(RATES, GAPS)
def test_no_window_of_one_period_ever_holds_more_than_the_rate_and_the_burst(limit: Limit, gaps: list[int]) -> None:
    assert limit.rate is not None
    taken = claims_of_a_greedy_worker(limit, gaps)
    for first, at in enumerate(taken):
        window = sum(at <= other < at + limit.period for other in taken[first:])
        assert window <= limit.rate + limit.burst - 1


@given(RATES, st.floats(0, 1e5), st.integers(0, 100_000))
def test_room_allowed_at_and_taken_agree(limit: Limit, ahead: float, later: int) -> None:
    tat, now = NOW + ahead, NOW + later
    room = limit.room(0, tat, now)
    assert (room > 0) == (now >= limit.allowed_at(tat))
    assert 0 <= room <= limit.burst
    for _ in range(room):
        assert now + 1 >= limit.allowed_at(tat), "to the millisecond: sums of fractions are rounded"
        tat = limit.taken(tat, now)


@given(RATES, GAPS)
def test_whoever_waits_until_the_allowed_instant_is_served(limit: Limit, gaps: list[int]) -> None:
    tat, now = 0.0, NOW
    for gap in gaps:
        now = max(now + gap % 3, limit.allowed_at(tat))
        assert limit.room(0, tat, now) >= 1
        tat = limit.taken(tat, now)


def test_claims_are_spread_evenly_with_a_burst_of_one() -> None:
    limit, tat, taken = Limit("api", rate=10, period=1_000), 0.0, []
    for now in range(NOW, NOW + 1_000):
        if limit.room(0, tat, now):
            tat = limit.taken(tat, now)
            taken.append(now - NOW)
    assert taken == list(range(0, 1_000, 100))


def test_the_full_rate_is_reached_over_time_even_when_the_interval_is_no_whole_number() -> None:
    limit, tat, count = Limit("api", rate=7, period=1_000), 0.0, 0
    for now in range(NOW, NOW + 10_000):
        if limit.room(0, tat, now):
            tat, count = limit.taken(tat, now), count + 1
    assert count == 70


def test_many_claims_per_millisecond_are_possible_with_a_burst() -> None:
    limit, tat, count = Limit("api", rate=100_000, period=1_000, burst=100), 0.0, 0
    for now in range(NOW, NOW + 100):
        for _ in range(limit.room(0, tat, now)):
            tat, count = limit.taken(tat, now), count + 1
    assert 9_900 <= count <= 10_100


@given(st.integers(1, 20), st.integers(0, 40))
def test_slots_are_counted(concurrency: int, used: int) -> None:
    assert Limit("db", concurrency=concurrency).room(used, 0.0, NOW) == max(concurrency - used, 0)


def test_both_kinds_of_limit_hold_together() -> None:
    limit = Limit("api", concurrency=3, rate=10, burst=10)
    assert limit.room(1, 0.0, NOW) == 2
    assert limit.room(3, 0.0, NOW) == 0
    tat = 0.0
    for _ in range(9):
        tat = limit.taken(tat, NOW)
    assert limit.room(0, tat, NOW) == 1


def test_without_a_rate_nothing_is_counted() -> None:
    limit = Limit("db", concurrency=1)
    assert (limit.allowed_at(5e15), limit.taken(7.0, NOW)) == (0, 7.0)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"key": ""}, "key"),
        ({"key": "a\x00b"}, "key"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": -1}, "concurrency"),
        ({"rate": 0}, "rate"),
        ({"rate": 10**10}, "rate"),
        ({"rate": 1, "period": 0}, "period"),
        ({"rate": 1, "period": 10**12}, "period"),
        ({"rate": 1, "burst": 0}, "burst"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_the_name_of_its_field(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Limit(**{"key": "api", **fields}).check()
