"""Tasks that wait for a time, an event and an answer, which come early, late or at the very moment."""

from __future__ import annotations

import asyncio
import random

from tenuto.errors import AlreadyFinished, NotFound
from tenuto.tasks.states import State
from tests.chaos.agents import wait_agent
from tests.chaos.evidence import Evidence
from tests.chaos.variants.base import Desk, Size

__all__ = ["Waits"]

_PAUSE = 0.03


class Waits:
    """Each task gets its event and its answer exactly once, whatever dies."""

    name = "waits"
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
            wait_agent.create_task(payload={"sleep": 0.2 if n % 4 == 0 else 0, "pause": _PAUSE}, id=f"wait-{n}")
            for n in range(desk.size.tasks)
        ]
        await desk.submit(specs)

    async def drive(self, desk: Desk) -> None:
        """Sends in random order, again from the beginning after a kill: the keys make that harmless."""
        both = [(n, what) for n in range(desk.size.tasks) for what in ("event", "answer")]
        random.Random(desk.size.seed).shuffle(both)
        rushed = len(both) // 3
        for count, (number, what) in enumerate(both):
            await self._send(desk, f"wait-{number}", what)
            if count > rushed:
                await asyncio.sleep(desk.random.uniform(0.0, 0.008))
        # Everything again: what has come already must change nothing.
        for number, what in both[::7]:
            await self._send(desk, f"wait-{number}", what, again=True)

    async def _send(self, desk: Desk, task_id: str, what: str, again: bool = False) -> None:
        while True:
            try:
                if what == "event":
                    new = await desk.client.send_event(task_id, "go", f"event for {task_id}", key="go")
                else:
                    new = await desk.client.complete_deferred_tool(task_id, "call", f"answer for {task_id}")
            except NotFound:
                await asyncio.sleep(0.05)  # not submitted yet
            except AlreadyFinished:
                return
            else:
                if new and again:
                    desk.note([task_id, what])
                return

    def check(self, evidence: Evidence, size: Size) -> None:
        for task_id, what in evidence.notes("drive"):
            evidence.complain(f"{task_id}: the {what} was sent twice under one key, and counted twice")
        if len(evidence.tasks) != size.tasks:
            evidence.complain(f"{size.tasks} tasks were submitted, and the store has {len(evidence.tasks)}")
        for task in evidence.tasks.values():
            if task.state is not State.DONE:
                evidence.complain(f"{task.id} is {task.state}, waiting for {task.wait}: {task.error or task.reason}")
                continue
            result = evidence.result(task)
            if not isinstance(result, dict):
                continue  # a stale report, which the general checks complain about
            if result["event"] != f"event for {task.id}" or result["answer"] != f"answer for {task.id}":
                evidence.complain(f"{task.id} got {result['event']!r} and {result['answer']!r}")
