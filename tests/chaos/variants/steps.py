"""Tasks with some steps each: ids and idempotency keys, delays and priorities, a third under a shared limit."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable

from tenuto.errors import AlreadyFinished, NotFound
from tenuto.tasks.ids import new_id
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tests.chaos.agents import steps_agent
from tests.chaos.evidence import Evidence
from tests.chaos.variants.base import Desk, Size

__all__ = ["LIMIT", "SLOTS", "Steps"]

LIMIT = "chaos-shared"
SLOTS = 6
_PAUSE = 0.03


class Steps:
    """The main variant."""

    name = "steps"
    sql = False
    sweepers = 0

    def scaled(self, tasks: int) -> int:
        return tasks

    def executions(self, size: Size) -> int:
        return size.tasks * size.steps

    def submissions(self, size: Size) -> int:
        return size.tasks

    async def submit(self, desk: Desk) -> None:
        await desk.client.put_limit(LIMIT, concurrency=SLOTS)
        await desk.submit([self._spec(number, desk.size) for number in range(desk.size.tasks)])

    async def drive(self, desk: Desk) -> None:
        """Pauses some tasks for a moment, and gives others another priority, while they come, run and end."""
        rng = random.Random(f"{desk.size.seed}/directed")
        some = [f"steps-{n}" for n in range(desk.size.tasks) if n % 10 < 7 and n % 17 == 0]
        rng.shuffle(some)
        for task_id in some:
            await self._direct(desk.client.pause_task(task_id, "chaos"))
            await self._direct(desk.client.elevate_task(f"{task_id[:-1]}1", rng.randint(0, 9)))
            await asyncio.sleep(0.02)
            await self._direct(desk.client.resume_task(task_id))
        for task_id in some:  # also those that were paused by an incarnation which did not live to resume them
            await self._direct(desk.client.resume_task(task_id))

    @staticmethod
    async def _direct(directive: Awaitable[None]) -> None:
        try:
            await directive
        except (NotFound, AlreadyFinished):
            return

    def _spec(self, number: int, size: Size) -> TaskSpec:
        """With the same id each time, or with a fresh one under the same idempotency key."""
        keyed = number % 10 >= 7
        return steps_agent.create_task(
            owner_id=f"owner-{number % 5}",
            payload={"number": number, "steps": size.steps, "pause": _PAUSE, "gather": number % 3 == 1},
            id=new_id() if keyed else f"steps-{number}",
            idempotency_key=f"key-{number}" if keyed else None,
            limits=(LIMIT,) if number % 3 == 0 else (),
            priority=number % 7,
            delay=0.5 if number % 11 == 0 else None,
        )

    def check(self, evidence: Evidence, size: Size) -> None:
        ids: dict[int, set[str]] = defaultdict(set)
        for number, task_id in evidence.notes("submit"):
            ids[number].add(task_id)
        for number in range(size.tasks):
            if len(ids[number]) != 1:
                evidence.complain(
                    f"submission {number} was answered with {len(ids[number])} ids: {sorted(ids[number])}"
                )
        if len(evidence.tasks) != size.tasks:
            evidence.complain(f"{size.tasks} tasks were submitted, and the store has {len(evidence.tasks)}")
        for task in evidence.tasks.values():
            if task.state is not State.DONE:
                evidence.complain(f"{task.id} is {task.state}: {task.error or task.reason}")
            elif task.steps != size.steps:
                evidence.complain(f"{task.id} has recorded {task.steps} steps instead of {size.steps}")
