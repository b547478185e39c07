"""Schedules: every instant fires once, however many look; what was missed is caught up as the schedule says."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.base import TaskFilter
from tenuto.tasks.schedules import CatchUp, Schedule
from tenuto.tasks.states import State
from tests.conformance.stage import FOREVER, START, Stage, raw, spec

MINUTE = 60_000
FIRST = (START // MINUTE + 1) * MINUTE
"""The first whole minute after the beginning."""


def every(minutes: int = 1, **fields: Any) -> Schedule:
    return Schedule(**{"name": "often", "task": spec("template"), "every": minutes * MINUTE, **fields})


async def fired(stage: Stage) -> list[str]:
    page = await stage.store.tasks(TaskFilter(), limit=1_000)
    return sorted(task.id for task in page.tasks)


async def test_a_schedule_fires_at_its_instants(stage: Stage) -> None:
    stored = await stage.store.put_schedule(every(task=spec(owner="ann", payload=raw({"a": 1}), tags=("t",))))
    assert stored.next_at == FIRST
    swept = await stage.sweep()
    assert (swept.fired, swept.next_due) == (0, FIRST)
    stage.clock.now = FIRST
    swept = await stage.sweep()
    assert (swept.fired, swept.changed, swept.next_due) == (1, 1, FIRST + MINUTE)
    task = await stage.task("often@2025-06-15T15:07:00Z")
    assert (task.state, task.owner, task.tags, task.root) == (State.READY, "ann", ("t",), task.id)
    assert task.metadata == {"schedule": "often", "instant": "2025-06-15T15:07:00Z"}
    (schedule,) = await stage.store.schedules()
    assert (schedule.next_at, schedule.last_at) == (FIRST + MINUTE, FIRST)
    assert (await stage.sweep()).fired == 0
    assert await stage.worker().run_all() == [task.id]


async def test_a_cron_schedule_fires_in_its_zone(stage: Stage) -> None:
    await stage.store.put_schedule(Schedule(name="daily", task=spec(), cron="30 2 * * *", zone="Europe/Berlin"))
    stage.clock.now = round(datetime.fromisoformat("2025-06-16T00:30:00+00:00").timestamp() * 1000)
    await stage.sweep()
    assert await fired(stage) == ["daily@2025-06-16T00:30:00Z"]


@pytest.mark.parametrize(
    ("catch_up", "ids"),
    [
        (CatchUp.LATEST, ["often@2025-06-15T15:16:00Z"]),
        (CatchUp.NONE, []),
        (CatchUp.ALL, [f"often@2025-06-15T15:{minute:02}:00Z" for minute in range(7, 17)]),
    ],
)
async def test_what_was_missed_is_caught_up_as_the_schedule_says(
    stage: Stage, catch_up: CatchUp, ids: list[str]
) -> None:
    await stage.store.put_schedule(every(catch_up=catch_up))
    stage.clock.now = FIRST + 9 * MINUTE + 100
    assert (await stage.sweep()).fired == len(ids)
    assert await fired(stage) == ids
    assert (await stage.store.schedules())[0].next_at == FIRST + 10 * MINUTE


async def test_all_of_very_many_missed_instants_are_fired_in_portions(stage: Stage) -> None:
    await stage.store.put_schedule(every(catch_up=CatchUp.ALL))
    stage.clock.now = FIRST + 2_499 * MINUTE
    total, sweeps = 0, 0
    while (count := (await stage.sweep()).fired) > 0:
        total, sweeps = total + count, sweeps + 1
    assert (total, sweeps) == (2_500, 3)
    assert (await stage.store.stats())[State.READY] == 2_500


async def test_a_paused_schedule_fires_nothing(stage: Stage) -> None:
    await stage.store.put_schedule(every(paused=True))
    assert (await stage.after(10 * MINUTE)).fired == 0
    assert (await stage.sweep()).next_due is None
    await stage.store.put_schedule(every())
    assert (await stage.sweep()).fired == 1


async def test_a_schedule_put_again_keeps_its_place_and_one_with_another_rule_does_not(stage: Stage) -> None:
    await stage.store.put_schedule(every())
    await stage.after(MINUTE)
    kept = await stage.store.put_schedule(every(task=spec(payload=raw(2)), catch_up=CatchUp.ALL))
    assert (kept.next_at, kept.last_at) == (FIRST + MINUTE, FIRST)
    other = await stage.store.put_schedule(every(5))
    assert (other.next_at, other.last_at) == ((stage.clock.now // (5 * MINUTE) + 1) * 5 * MINUTE, None)
    assert len(await stage.store.schedules()) == 1


async def test_a_deleted_schedule_is_gone_and_its_tasks_stay(stage: Stage) -> None:
    await stage.store.put_schedule(every())
    await stage.after(MINUTE)
    assert await stage.store.delete_schedule("often") is True
    assert await stage.store.delete_schedule("often") is False
    assert (await stage.after(10 * MINUTE)).fired == 0
    assert await fired(stage) == ["often@2025-06-15T15:07:00Z"]


async def test_a_schedule_put_again_from_the_past_fires_no_instant_twice(stage: Stage) -> None:
    await stage.store.put_schedule(every())
    await stage.after(MINUTE)
    await stage.store.delete_schedule("often")
    await stage.store.put_schedule(every())
    stage.clock.move(MINUTE)
    await stage.sweep()
    assert await fired(stage) == ["often@2025-06-15T15:07:00Z", "often@2025-06-15T15:08:00Z"]
    for task_id in await fired(stage):
        assert (await stage.kinds(task_id)) == ["created"]


@pytest.mark.parametrize(
    "wrong",
    [every(every=None), every(every=500), every(name="a@b"), every(task=spec(agent="")), every(cron="* * * * *")],
)
async def test_a_schedule_that_makes_no_sense_is_refused(stage: Stage, wrong: Schedule) -> None:
    with pytest.raises(InvalidInput):
        await stage.store.put_schedule(wrong)
    assert list(await stage.store.schedules()) == []


async def test_schedules_are_listed_by_name_as_they_were_put(stage: Stage) -> None:
    put = [await stage.store.put_schedule(every(name=name)) for name in ("b", "a", "c")]
    assert list(await stage.store.schedules()) == sorted(put, key=lambda schedule: schedule.name)


async def test_several_sweepers_fire_each_instant_once(stage: Stage) -> None:
    await stage.store.put_schedule(every(catch_up=CatchUp.ALL))
    stage.clock.now = FIRST + 9 * MINUTE
    swept = await asyncio.gather(*(stage.store.sweep(100, FOREVER) for _ in range(5)))
    assert sum(each.fired for each in swept) == 10
    assert len(await fired(stage)) == 10
