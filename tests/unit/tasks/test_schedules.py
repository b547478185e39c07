"""Schedules: which instants a rule has, across daylight saving too, and what happens to those that were missed."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import Millis, iso
from tenuto.tasks.schedules import MOST_CAUGHT_UP, CatchUp, Schedule, due_instants, fired, next_instant
from tests.unit.tasks.make import NOW, spec

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def at(text: str) -> Millis:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def cron(rule: str, zone: str = "UTC", **fields: Any) -> Schedule:
    return Schedule(name="nightly", task=spec(), cron=rule, zone=zone, **fields)


def every(span: Millis, **fields: Any) -> Schedule:
    return Schedule(name="often", task=spec(), every=span, **fields)


def instants(schedule: Schedule, after: str, count: int) -> list[str]:
    found, last = [], at(after)
    for _ in range(count):
        following = next_instant(schedule, last)
        assert following is not None
        found.append(iso(following))
        last = following
    return found


# -- which instants ----------------------------------------------------------------------------------------


def test_cron_is_read_in_its_zone() -> None:
    assert instants(cron("30 9 * * 1-5", "Asia/Tokyo"), "2025-06-06T12:00:00+00:00", 2) == [
        "2025-06-09T00:30:00Z",
        "2025-06-10T00:30:00Z",
    ]


@pytest.mark.parametrize(
    ("zone", "after", "found"),
    [
        # 2:30 does not exist on the day the clocks go forward: the job runs right after the gap.
        ("Europe/Berlin", "2025-03-29T12:00:00+00:00", ["2025-03-30T01:00:00Z", "2025-03-31T00:30:00Z"]),
        ("America/New_York", "2025-03-08T12:00:00+00:00", ["2025-03-09T07:00:00Z", "2025-03-10T06:30:00Z"]),
        # 2:30 comes twice (Berlin) or 1:30 does (New York) when they go back: the job runs once.
        ("Europe/Berlin", "2025-10-25T12:00:00+00:00", ["2025-10-26T00:30:00Z", "2025-10-27T01:30:00Z"]),
        ("America/New_York", "2025-11-01T12:00:00+00:00", ["2025-11-02T07:30:00Z", "2025-11-03T07:30:00Z"]),
        ("UTC", "2025-03-29T12:00:00+00:00", ["2025-03-30T02:30:00Z", "2025-03-31T02:30:00Z"]),
        ("Asia/Kolkata", "2025-03-29T12:00:00+00:00", ["2025-03-29T21:00:00Z", "2025-03-30T21:00:00Z"]),
    ],
)
def test_a_daily_job_runs_once_on_every_day_also_when_the_clocks_change(
    zone: str, after: str, found: list[str]
) -> None:
    assert instants(cron("30 2 * * *", zone), after, 2) == found


def test_where_the_clocks_change_by_half_an_hour_a_daily_job_runs_once_a_day() -> None:
    schedule = cron("15 2 * * *", "Australia/Lord_Howe")
    found = instants(schedule, "2025-10-03T00:00:00+00:00", 4)
    days = [datetime.fromisoformat(text).astimezone(ZoneInfo(schedule.zone)).date() for text in found]
    assert len(set(days)) == 4
    assert days == sorted(days)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26", "2025-03-09", "2025-11-02", "2025-10-05", "2025-04-06"])
def test_an_hourly_job_runs_once_in_every_hour_of_real_time(zone: str, day: str) -> None:
    last, gaps = at(f"{day}T00:00:00+00:00") - 12 * HOUR, []
    for _ in range(48):
        following = next_instant(cron("0 * * * *", zone), last)
        assert following is not None
        gaps.append(following - last)
        last = following
    whole = HOUR if zone != "Australia/Lord_Howe" else HOUR // 2
    assert all(gap % whole == 0 and gap <= HOUR + HOUR // 2 for gap in gaps[1:]), gaps


@given(st.integers(1, 10_000), st.integers(0, 10**12), st.integers(0, 4 * 10**12))
def test_an_interval_is_counted_from_its_anchor(seconds: int, anchor: int, after: int) -> None:
    schedule = every(seconds * 1000, anchor=anchor // 1000 * 1000)
    following = next_instant(schedule, after)
    assert following is not None
    assert (following - schedule.anchor) % (seconds * 1000) == 0
    assert following > after
    assert following >= schedule.anchor
    assert following - after <= seconds * 1000 or following == schedule.anchor + 0


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 3 * * *", "30 2 * * 0", "15 4 1 * *", "0 0 29 2 *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.integers(at("2024-01-01T00:00:00+00:00"), at("2027-01-01T00:00:00+00:00")),
)
def test_instants_are_whole_seconds_that_rise(rule: str, zone: str, after: int) -> None:
    last = after
    for _ in range(5):
        following = next_instant(cron(rule, zone), last)
        assert following is not None
        assert following > last
        assert following % 1_000 == 0
        last = following


# -- what was missed ---------------------------------------------------------------------------------------


def missed(schedule: Schedule, first: Millis) -> Schedule:
    return replace(schedule, next_at=first)


def test_nothing_is_due_before_its_time_or_while_paused() -> None:
    schedule = missed(every(MINUTE), NOW)
    assert due_instants(schedule, NOW - 1) == ([], NOW)
    assert due_instants(replace(schedule, paused=True), NOW + HOUR) == ([], NOW)
    assert due_instants(replace(schedule, next_at=None), NOW) == ([], None)


@pytest.mark.parametrize("catch_up", CatchUp)
def test_an_instant_on_time_fires_in_every_mode(catch_up: CatchUp) -> None:
    first = at("2025-06-01T00:00:00+00:00")
    assert due_instants(missed(every(MINUTE, catch_up=catch_up), first), first + 59_000) == ([first], first + MINUTE)
    assert due_instants(missed(cron("0 0 * * *", catch_up=catch_up), first), first + 59_000) == ([first], first + DAY)


@pytest.mark.parametrize("schedule", [every(HOUR), cron("0 * * * *"), cron("0 * * * *", "Europe/Berlin")])
def test_what_was_missed_is_caught_up_as_the_schedule_says(schedule: Schedule) -> None:
    first = at("2025-06-01T00:00:00+00:00")
    now = first + 5 * HOUR + 10 * MINUTE
    due, following = first + 5 * HOUR, first + 6 * HOUR
    latest = missed(schedule, first)
    assert due_instants(latest, now) == ([due], following)
    assert due_instants(replace(latest, catch_up=CatchUp.NONE), now) == ([], following)
    every_one = [first + n * HOUR for n in range(6)]
    assert due_instants(replace(latest, catch_up=CatchUp.ALL), now) == (every_one, following)


@pytest.mark.parametrize("schedule", [every(MINUTE), cron("* * * * *")])
def test_all_is_caught_up_in_portions_none_twice_and_none_left_out(schedule: Schedule) -> None:
    first = at("2025-06-01T00:00:00+00:00")
    now = first + 2_500 * MINUTE
    state, fires = replace(schedule, catch_up=CatchUp.ALL, next_at=first), list[Millis]()
    for _ in range(4):
        due, following = due_instants(state, now)
        assert len(due) <= MOST_CAUGHT_UP
        fires += due
        state = replace(state, next_at=following)
    assert fires == [first + n * MINUTE for n in range(2_501)]
    assert state.next_at == now + MINUTE


@pytest.mark.parametrize("schedule", [every(1_000), cron("* * * * *"), cron("0 2 * * *", "Europe/Berlin")])
@pytest.mark.parametrize("catch_up", CatchUp)
def test_years_missed_cost_no_more_than_a_day_missed(schedule: Schedule, catch_up: CatchUp) -> None:
    now = at("2025-06-01T00:00:30+00:00")
    first = next_instant(schedule, at("2005-06-01T00:00:00+00:00"))
    assert first is not None
    began = time.perf_counter()
    due, following = due_instants(replace(schedule, catch_up=catch_up, next_at=first), now)
    assert time.perf_counter() - began < 20
    assert following is not None
    if catch_up is CatchUp.LATEST:
        assert len(due) == 1
        assert now - due[0] < DAY + HOUR
        assert following > now
    elif catch_up is CatchUp.NONE:
        assert due == []
        assert following > now


def test_the_latest_of_a_rare_rule_is_found() -> None:
    first = at("2004-02-29T00:00:00+00:00")
    schedule = missed(cron("0 0 29 2 *"), first)
    assert due_instants(schedule, at("2025-06-01T00:00:00+00:00")) == (
        [at("2024-02-29T00:00:00+00:00")],
        at("2028-02-29T00:00:00+00:00"),
    )


# -- the task that is fired, and what is refused -----------------------------------------------------------


def test_the_fired_task_is_named_for_its_instant() -> None:
    schedule = replace(every(HOUR), task=spec("ignored", owner="ann", idempotency_key="k", metadata={"a": 1}))
    task = fired(schedule, at("2025-06-01T10:00:00+02:00"))
    assert task.id == "often@2025-06-01T08:00:00Z"
    assert (task.owner, task.idempotency_key, task.run_at) == ("ann", None, None)
    assert task.metadata == {"a": 1, "schedule": "often", "instant": "2025-06-01T08:00:00Z"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Schedule(name="x", task=spec()), "either a cron expression or an interval"),
        (Schedule(name="x", task=spec(), cron="* * * * *", every=1_000), "either a cron expression or an interval"),
        (every(500), "whole number of seconds"),
        (every(1_500), "whole number of seconds"),
        (every(0), "whole number of seconds"),
        (every(1_000, anchor=500), "anchor"),
        (every(1_000, anchor=-1_000), "anchor"),
        (cron("* * * *"), "five fields"),
        (cron("* * * * * *"), "five fields"),
        (cron("61 * * * *"), "61"),
        (cron("a b c d e"), "a b c d e"),
        (cron("0 0 31 2 *"), "0 0 31 2"),
        (cron("0 0 * * *", "Mars/Olympus"), "no known time zone"),
        (cron("0 0 * * *", "../../etc/passwd"), "no known time zone"),
        (cron("0 0 * * *", ""), "no known time zone"),
        (replace(every(1_000), name="a@b"), "'@'"),
        (replace(every(1_000), name="a.b"), "dot"),
        (replace(every(1_000), name=""), "1 to 255"),
        (replace(every(1_000), task=spec(agent="")), "names no agent"),
        (replace(every(1_000), task=spec(priority=10**12)), "priority"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_with_one_sentence(wrong: Schedule, said: str) -> None:
    with pytest.raises(InvalidInput, match=said.replace("*", r"\*")) as refused:
        wrong.check()
    assert "\n" not in str(refused.value)


def test_a_schedule_that_makes_sense_is_accepted() -> None:
    for schedule in (every(1_000), cron("0 9 * * MON-FRI", "Europe/Berlin"), cron("0 0 L * *")):
        assert schedule.check() is schedule


def test_instants_do_not_depend_on_the_machines_own_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = cron("30 2 * * *", "Europe/Berlin")
    here = instants(schedule, "2025-03-29T12:00:00+00:00", 3)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert instants(schedule, "2025-03-29T12:00:00+00:00", 3) == here
    finally:
        monkeypatch.undo()
        time.tzset()
    assert datetime.now(UTC).tzinfo is UTC
