"""The caller's own SQL: tasks submitted inside its transactions, and steps that commit with what they write. All of
them under one shared rate.

Here nothing is repeated, not even what was in flight: a row and its task, a row and its step, are there together or
not at all.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing

from tenuto.plans import tree_of
from tenuto.tasks.states import State
from tests.chaos.agents import sql_agent
from tests.chaos.books import Books
from tests.chaos.evidence import Evidence
from tests.chaos.variants.base import Desk, Size

__all__ = ["Sql"]

_PAUSE = 0.03
_LIMIT = "chaos-rate"
_RATE = 60
"""Starts per second, by all workers together."""


class Sql:
    """Orders that are placed with their tasks, and booked with their steps."""

    name = "sql"
    sql = True
    sweepers = 0

    def scaled(self, tasks: int) -> int:
        return max(60, tasks // 5)

    def executions(self, size: Size) -> int:
        return size.tasks * 3

    def submissions(self, size: Size) -> int:
        return size.tasks

    async def submit(self, desk: Desk) -> None:
        with closing(Books(desk.url)) as books:
            books.prepare()
            await desk.client.put_limit(_LIMIT, rate=_RATE)
            for number in range(desk.size.tasks):
                task = sql_agent.create_task(payload={"pause": _PAUSE}, id=f"sql-{number}", limits=(_LIMIT,))
                with books.transaction():
                    if books.ordered(number):
                        continue
                    books.order(number, task.id)
                    await desk.client.store.submit([tree_of(task)], connection=books.connection)
                desk.note([number, task.id])

    async def drive(self, desk: Desk) -> None:
        """Nothing: these tasks need no direction."""

    def check(self, evidence: Evidence, size: Size) -> None:
        with closing(Books(evidence.url)) as books:
            ordered, booked = books.orders(), books.booked()
        if sorted(ordered) != sorted(evidence.tasks) or len(ordered) != size.tasks:
            evidence.complain(
                f"{size.tasks} orders: the table has {len(ordered)}, the store {len(evidence.tasks)} tasks"
            )
        rows = Counter((task, step) for task, step, _ in booked)
        values = {(task, step): value for task, step, value in booked}
        for task in evidence.tasks.values():
            if task.state is not State.DONE:
                evidence.complain(f"{task.id} is {task.state}: {task.error or task.reason}")
                continue
            result = evidence.result(task)
            if not isinstance(result, dict):
                continue  # a stale report, which the general checks complain about
            for step, value in zip(("t0", "t1"), result["booked"], strict=True):
                if rows[task.id, step] != 1:
                    evidence.complain(f"{task.id}: {step} was booked {rows[task.id, step]} times")
                elif values[task.id, step] != value:
                    evidence.complain(f"{task.id}: {step} was booked as {values[task.id, step]}, and returned {value}")
