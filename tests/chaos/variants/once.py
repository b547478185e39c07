"""Steps that may start only once: after a crash somebody decides, and until then nothing runs."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from typing import Literal

from tenuto.errors import AlreadyFinished, Conflict
from tenuto.stores.base import TaskFilter
from tenuto.tasks.outcome import StepState
from tenuto.tasks.states import ACTIVE, State
from tests.chaos.agents import AGAIN, RESOLVED, once_agent
from tests.chaos.evidence import Evidence
from tests.chaos.variants.base import Desk, Size

__all__ = ["Once"]

_PAUSE = 0.06


class Once:
    """Half of the tasks have a function that decides, for the other half a person does."""

    name = "once"
    sql = False
    sweepers = 0

    def scaled(self, tasks: int) -> int:
        return max(60, tasks // 4)

    def executions(self, size: Size) -> int:
        return size.tasks * 3

    def submissions(self, size: Size) -> int:
        return size.tasks

    async def submit(self, desk: Desk) -> None:
        specs = [
            once_agent.create_task(payload={"pause": _PAUSE, "reconcile": n % 2 == 0}, id=f"once-{n}")
            for n in range(desk.size.tasks)
        ]
        await desk.submit(specs)

    async def drive(self, desk: Desk) -> None:
        """The person who resolves what nobody knows, until everything has ended."""
        while True:
            page = await desk.client.store.tasks(TaskFilter(states=tuple(ACTIVE)), limit=1_000)
            for task in page.tasks:
                if task.paused:
                    await self._resolve(desk, task.id)
            if not page.tasks and sum((await desk.client.stats()).values()) == desk.size.tasks:
                return
            await asyncio.sleep(0.1)

    async def _resolve(self, desk: Desk, task_id: str) -> None:
        for step in await desk.client.journal(task_id):
            if step.state is not StepState.STARTED:
                continue
            ways: tuple[Literal["done", "retry", "fail"], ...] = ("done", "retry", "retry", "fail")
            how = ways[zlib.crc32(f"{task_id}/{step.attempt}".encode()) % len(ways)]
            desk.note([task_id, how])  # before it is said: what is said may start a step again
            try:
                await desk.client.resolve_step(task_id, step.key, how, f"{RESOLVED} by a person")
            except (Conflict, AlreadyFinished):
                return

    def check(self, evidence: Evidence, size: Size) -> None:
        if len(evidence.tasks) != size.tasks:
            evidence.complain(f"{size.tasks} tasks were submitted, and the store has {len(evidence.tasks)}")
        starts = Counter(each.task for each in evidence.executions if each.step == "s1")
        allowed = Counter(each.task for each in evidence.executions if each.step == AGAIN)
        allowed.update(task_id for task_id, how in evidence.notes("drive") if how == "retry")
        for task in evidence.tasks.values():
            if task.state is not State.DONE:
                evidence.complain(f"{task.id} is {task.state}: {task.error or task.reason}")
            if starts[task.id] > 1 + allowed[task.id]:
                evidence.complain(
                    f"{task.id}: a step that may start only once ran {starts[task.id]} times, "
                    f"and {allowed[task.id]} times somebody had allowed it to start again"
                )
