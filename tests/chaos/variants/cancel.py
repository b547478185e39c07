"""Trees of tasks that spawn tasks, cancelled at random, at the root or below it, while their workers die."""

from __future__ import annotations

import asyncio
import random

from tenuto.errors import AlreadyFinished, NotFound
from tenuto.stores.base import TaskFilter
from tenuto.tasks.event import EventKind
from tenuto.tasks.states import FINAL, State
from tests.chaos.agents import tree_agent
from tests.chaos.evidence import Evidence
from tests.chaos.variants.base import Desk, Size

__all__ = ["Cancel"]

_PAUSE = 0.08
_DEPTH, _WIDTH = 2, 3
_TREE = 1 + _WIDTH + _WIDTH**2
_EXECUTIONS = 1 + _WIDTH + 3 * _WIDTH**2
_SLOTS = 10


def _count(size: Size) -> int:
    return max(2, size.tasks // _TREE)


class Cancel:
    """Two trees in three are cancelled."""

    name = "cancel"
    sql = False
    sweepers = 0

    def scaled(self, tasks: int) -> int:
        return max(60, tasks // 3)

    def executions(self, size: Size) -> int:
        return _count(size) * _EXECUTIONS * 6 // 10

    def submissions(self, size: Size) -> int:
        return _count(size)

    async def submit(self, desk: Desk) -> None:
        await desk.client.put_limit("chaos-trees", concurrency=_SLOTS)
        payload = {"depth": _DEPTH, "width": _WIDTH, "pause": _PAUSE}
        await desk.submit([tree_agent.create_task(payload=payload, id=f"tree-{n}") for n in range(_count(desk.size))])

    async def drive(self, desk: Desk) -> None:
        await asyncio.gather(*(self._cancel(desk, f"tree-{n}") for n in range(_count(desk.size)) if n % 3))

    async def _cancel(self, desk: Desk, root: str) -> None:
        """Cancels the tree `root`, or one of its tasks, as soon as it has grown to a random size."""
        rng = random.Random(f"{desk.size.seed}/{root}")
        grown, low = rng.randint(1, _TREE - 1), rng.random() < 0.4
        while True:
            page = await desk.client.store.tasks(TaskFilter(root=root), limit=2 * _TREE)
            tasks = sorted(page.tasks, key=lambda task: task.id)
            if len(tasks) >= grown and (not low or len(tasks) > 1):
                break
            if tasks and all(task.is_final for task in tasks):
                return
            await asyncio.sleep(0.1)
        below = [task.id for task in tasks if task.id != root]
        target = rng.choice(below) if low else root
        try:
            await desk.client.cancel_task(target, "chaos")
        except AlreadyFinished as error:
            desk.note([target, error.state])
        except NotFound:
            desk.note([target, "unknown"])
        else:
            desk.note([target, "cancelled"])

    def check(self, evidence: Evidence, size: Size) -> None:
        cancelled: set[str] = set()
        for target, answer in evidence.notes("drive"):
            task = evidence.tasks.get(target)
            if task is None or task.state.value != answer:
                evidence.complain(
                    f"the cancellation of {target} was answered with {answer}, and it is {task and task.state}"
                )
            cancelled.add(target)
        vanished = evidence.vanished()
        for task in evidence.tasks.values():
            parent = evidence.tasks.get(task.parent or "")
            if task.state not in FINAL:
                evidence.complain(
                    f"{task.id} is {task.state}, long after the end; its parent is {parent and parent.state}"
                )
            if task.state is State.FAILED and task.id not in vanished:
                evidence.complain(f"{task.id} failed: {task.error}")
            if parent is None and task.state is State.CANCELLED and task.reason != "chaos":
                evidence.complain(f"{task.id} was cancelled by nobody: {task.reason}")
        self._check_order(evidence)
        if not cancelled:
            evidence.complain("nothing was cancelled: the driver did not do its work")
        kept = [f"tree-{n}" for n in range(_count(size)) if n % 3 == 0]
        for root in kept:
            task = evidence.tasks.get(root)
            if task is None or task.state is not State.DONE:
                evidence.complain(f"{root} was left alone, and is {task and task.state}")

    def _check_order(self, evidence: Evidence) -> None:
        """Nothing may be created or start under a task that has been cancelled."""
        gone: set[str] = set()
        for event in evidence.events:
            task = evidence.tasks[event.task_id]
            if event.kind is EventKind.CANCELLED:
                gone.add(task.id)
            elif event.kind in (EventKind.CREATED, EventKind.STARTED) and not gone.isdisjoint(evidence.ancestors(task)):
                evidence.complain(f"{task.id}: {event.kind} after an ancestor had been cancelled")
