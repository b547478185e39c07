"""Schedules that fire every second while their sweepers die: each instant fires once, and none is left out."""

from __future__ import annotations

import asyncio
from datetime import datetime

from tenuto.tasks.event import EventKind
from tenuto.tasks.schedules import CatchUp
from tenuto.tasks.states import State
from tests.chaos.agents import steps_agent
from tests.chaos.evidence import Evidence
from tests.chaos.variants.base import Desk, Size

__all__ = ["Schedules"]

_SCHEDULES = 4
_PAUSE = 0.02
_STEPS = 2


class Schedules:
    """Several sweepers, all of which are killed and frozen."""

    name = "schedules"
    sql = False
    sweepers = 3

    def scaled(self, tasks: int) -> int:
        return max(24, min(80, tasks // 20))

    def executions(self, size: Size) -> int:
        return size.tasks * _STEPS

    def submissions(self, size: Size) -> int:
        return _SCHEDULES

    async def submit(self, desk: Desk) -> None:
        for number in range(_SCHEDULES):
            task = steps_agent.create_task(payload={"steps": _STEPS, "pause": _PAUSE, "gather": False})
            name = f"tick-{number}"
            await desk.client.put_schedule(name, task, every=1, catch_up=CatchUp.ALL)
            desk.note([number, name])

    async def drive(self, desk: Desk) -> None:
        """Lets them tick until there are enough tasks, then deletes them; notes which instants must have fired."""
        gone = {name for name, _ in desk.noted()}
        while True:
            schedules = await desk.client.list_schedules()
            if sum((await desk.client.stats()).values()) >= desk.size.tasks:
                break
            await asyncio.sleep(0.1)
        for schedule in schedules:
            if schedule.name not in gone:
                desk.note([schedule.name, schedule.last_at])
            await desk.client.delete_schedule(schedule.name)

    def check(self, evidence: Evidence, size: Size) -> None:
        last_at = dict(evidence.notes("drive"))
        if sorted(last_at) != [f"tick-{number}" for number in range(_SCHEDULES)]:
            evidence.complain(f"not every schedule was there in the end: {sorted(last_at)}")
        fired: dict[str, list[int]] = {name: [] for name in last_at}
        for task in evidence.tasks.values():
            name, _, instant = task.id.partition("@")
            fired.setdefault(name, []).append(round(datetime.fromisoformat(instant).timestamp()))
            if task.state is not State.DONE:
                evidence.complain(f"{task.id} is {task.state}: {task.error or task.reason}")
        for name, instants in fired.items():
            instants.sort()
            expected = list(range(instants[0], instants[0] + len(instants))) if instants else []
            if instants != expected:
                missing = sorted(set(range(instants[0], instants[-1])) - set(instants))
                evidence.complain(f"{name} left out {len(missing)} instants: {missing[:5]}")
            if not instants or instants[-1] * 1000 < (last_at.get(name) or 0):
                evidence.complain(f"{name} says that it fired at {last_at.get(name)}, and there is no such task")
        created = [event.task_id for event in evidence.events if event.kind is EventKind.CREATED]
        if len(created) != len(set(created)):
            evidence.complain("an instant was fired twice")
