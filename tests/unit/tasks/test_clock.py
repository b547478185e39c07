"""Time at the door: what people give becomes whole milliseconds, and nonsense is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import LATEST, duration, instant, iso, wall_clock


@pytest.mark.parametrize(
    ("value", "millis"),
    [(0, 0), (1, 1_000), (0.0001, 1), (1.5, 1_500), (timedelta(minutes=2), 120_000), (timedelta(microseconds=1), 1)],
)
def test_durations_are_rounded_up_so_that_nothing_comes_early(value: float | timedelta, millis: int) -> None:
    assert duration(value, "delay") == millis


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 1e11, timedelta(seconds=-1), True, "5", None])
def test_a_duration_that_makes_no_sense_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="delay"):
        duration(value, "delay")


def test_an_instant_is_the_same_in_every_zone() -> None:
    moment = datetime(2025, 6, 15, 17, 6, 40, tzinfo=ZoneInfo("Europe/Berlin"))
    assert instant(moment, "run_at") == instant(moment.astimezone(UTC), "run_at") == 1_750_000_000_000
    assert instant(1_750_000_000, "run_at") == 1_750_000_000_000


@pytest.mark.parametrize("value", [datetime(2025, 6, 1), -1, math.nan, 1e18, True, "now"])  # noqa: DTZ001  # naive on purpose
def test_an_instant_that_makes_no_sense_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="run_at"):
        instant(value, "run_at")


@given(st.integers(0, LATEST))
def test_text_and_back(at: int) -> None:
    assert instant(datetime.fromisoformat(iso(at)), "run_at") == at


def test_the_wall_clock_counts_milliseconds() -> None:
    assert abs(wall_clock() - datetime.now(UTC).timestamp() * 1000) < 60_000
