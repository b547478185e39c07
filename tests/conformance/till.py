"""Short ways to what the tests of money look at."""

from __future__ import annotations

from typing import Any

from tenuto.tasks.lease import Lease
from tenuto.tasks.money import NOTHING, TOTAL, Amount, Reserve, Settle
from tenuto.tasks.outcome import Answer, Recorded
from tenuto.tasks.usage import CallState, LedgerEntry, UsageBy
from tests.conformance.stage import Stage, Worker, spec

__all__ = ["Till"]


class Till:
    """The books of a stage's store."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._tasks = 0

    async def ledger(self, task_id: str = "task-1") -> list[LedgerEntry]:
        return list(await self.stage.store.ledger(task_id))

    async def states(self, task_id: str = "task-1") -> dict[str, CallState]:
        """By call; of the latest attempt that made it."""
        return {entry.call: entry.state for entry in await self.ledger(task_id)}

    async def total(self, of: str = TOTAL) -> tuple[Amount, Amount, int]:
        """Spent, reserved and calls of a scope; of the total over all days."""
        kind, _, name = of.partition(":")
        if of == TOTAL:
            rows = await self.stage.store.usage(UsageBy.DAY)
        else:
            found = await self.stage.store.usage(UsageBy(kind), prefix=name)
            rows = [row for row in found if row.key == name]
        spent = sum((row.spent for row in rows), NOTHING)
        reserved = sum((row.reserved for row in rows), NOTHING)
        return spent, reserved, sum(row.calls for row in rows)

    async def rows(self, by: UsageBy, **where: Any) -> dict[str, Amount]:
        """What was spent by key."""
        return {row.key: row.spent for row in await self.stage.store.usage(by, **where)}

    async def use(self, scope: str) -> list[tuple[str, Amount, Amount]]:
        """Window, spent and reserved of the budgets of a scope."""
        uses = await self.stage.store.budgets(scope)
        return [(use.window, use.spent, use.reserved) for use in uses if use.budget.scope == scope]

    async def running(self, task_id: str | None = None, **fields: Any) -> tuple[Worker, Lease]:
        """A new task that is held by a worker of its own."""
        self._tasks += 1
        task_id = task_id or f"job-{self._tasks}"
        agent = fields.setdefault("agent", "echo")
        await self.stage.add(spec(task_id, **fields))
        worker = self.stage.worker(agent)
        return worker, await worker.claim_one()

    async def reserve(self, held: tuple[Worker, Lease], call: str, bound: Amount, **fields: Any) -> Recorded:
        """Asks for one reservation."""
        worker, lease = held
        return await worker.record(lease, reserves=(Reserve(call, bound, **fields),))

    async def granted(self, held: tuple[Worker, Lease], call: str, bound: Amount, **fields: Any) -> bool:
        """Whether that is granted."""
        return (await self.reserve(held, call, bound, **fields)).answer is Answer.ACCEPTED

    async def settle(self, held: tuple[Worker, Lease], call: str, actual: Amount, **fields: Any) -> None:
        """Settles a call."""
        worker, lease = held
        recorded = await worker.record(lease, settles=(Settle(call, actual, **fields),))
        assert recorded.answer is Answer.ACCEPTED
