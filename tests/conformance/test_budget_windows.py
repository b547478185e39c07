"""Budgets per UTC day and month: each window begins with nothing, and a call belongs to that of its reservation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenuto.tasks.money import NOTHING, Amount, Budget, Period
from tests.conformance.stage import START, Stage
from tests.conformance.till import Till

CENT = 10_000_000


@pytest.fixture
def till(stage: Stage) -> Till:
    return Till(stage)


def midnight(at: int) -> int:
    day = datetime.fromtimestamp(at / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return round((day + timedelta(days=1)).timestamp() * 1000)


async def test_a_budget_per_day_begins_anew_at_midnight_utc(stage: Stage, till: Till) -> None:
    await stage.store.put_budget(Budget("owner:ann", money=CENT, period=Period.DAY))
    held = await till.running(owner="ann")
    assert await till.granted(held, "a", Amount(CENT - 5))
    await till.settle(held, "a", Amount(CENT - 5))
    assert await till.granted(held, "late", Amount(5))
    refused = (await till.reserve(held, "b", Amount(CENT))).refused
    assert refused is not None
    assert (refused.period, refused.retry_at) == (Period.DAY, midnight(START))
    assert await till.use("owner:ann") == [("2025-06-15", Amount(CENT - 5), Amount(5))]
    # When the day is over
    stage.clock.now = midnight(START) - 1
    assert not await till.granted(held, "b", Amount(CENT))
    stage.clock.now = midnight(START)
    assert await till.granted(held, "b", Amount(CENT))
    # Then what is settled now belongs to the day of its reservation
    await till.settle(held, "late", Amount(1))
    assert await till.use("owner:ann") == [("2025-06-16", NOTHING, Amount(CENT))]


async def test_a_budget_per_month_ends_with_its_month(stage: Stage, till: Till) -> None:
    await stage.store.put_budget(Budget("model:m", money=CENT, period=Period.MONTH))
    await stage.store.put_budget(Budget("model:m", money=CENT, period=Period.DAY))
    held = await till.running()
    assert await till.granted(held, "a", Amount(CENT), model="m")
    await till.settle(held, "a", Amount(CENT))
    stage.clock.now = midnight(START)
    refused = (await till.reserve(held, "b", Amount(CENT), model="m")).refused
    assert refused is not None
    july = round(datetime(2025, 7, 1, tzinfo=UTC).timestamp() * 1000)
    assert (refused.period, refused.retry_at) == (Period.MONTH, july)
    stage.clock.now = july
    assert await till.granted(held, "b", Amount(CENT), model="m")
    windows = [window for window, _, _ in await till.use("model:m")]
    assert windows == ["2025-07-01", "2025-07"]


@pytest.mark.parametrize(
    ("now", "day", "end"),
    [
        ("2024-02-28T23:59:59", Period.DAY, "2024-02-29"),
        ("2024-02-29T00:00:00", Period.MONTH, "2024-03-01"),
        ("2023-12-31T12:00:00", Period.DAY, "2024-01-01"),
        ("2023-12-31T12:00:00", Period.MONTH, "2024-01-01"),
        ("2100-02-28T12:00:00", Period.DAY, "2100-03-01"),
        ("2025-01-31T00:00:00", Period.MONTH, "2025-02-01"),
    ],
)
async def test_windows_follow_the_calendar(stage: Stage, till: Till, now: str, day: Period, end: str) -> None:
    stage.clock.now = round(datetime.fromisoformat(f"{now}+00:00").timestamp() * 1000)
    await stage.store.put_budget(Budget("total", money=0, period=day))
    refused = (await till.reserve(await till.running(), "a", Amount(1))).refused
    assert refused is not None
    assert refused.retry_at == round(datetime.fromisoformat(f"{end}T00:00:00+00:00").timestamp() * 1000)
    window = now[:10] if day is Period.DAY else now[:7]
    assert [use.window for use in await stage.store.budgets()] == [window]
