"""The part of the store contract that counts money, tokens and requests. What is counted and how: `tasks.money`.

Reservations and settlements come with records (`Store.record`); here is what is asked beside them. A store keeps:

 - a **ledger** for each task: its calls, each with its bound, and once it is settled with what it used. It leaves with
   its tree;
 - **totals** by scope, and by day and month for owners, agents, models and everything, kept as calls are reserved and
   settled: neither a check nor a read adds up calls. At every instant the total of a scope is the sum of what the
   ledgers of its calls count;
 - **budgets**, by scope and period. That of a `TaskSpec` is one of `task:<id>`, stored when the task is, unless it has
   one already; budgets of tasks and trees leave with their tree;
 - until when keys of rates are **slow**.

A record is checked with its settlements applied first, then its reservations one after the other, each against what
the ones before it have taken. Budgets are looked at from the task upwards (the task, those above it, its tree, owner,
agent, model, the total; for good, by month, by day), then rates in the order given; the first without room is the one
that is named, before one that is merely busy. `retry_at` of a budget is when its window ends, None without a period; of
a rate, or a key that is slow, the first instant with room for the units when all calls of the same owner have come that
were told an earlier one: those who wait do not all come back at once.

Owners share a rate: one whose call was refused for want of room has the first right to the next room, before owners
who have got more, for a moment after the `retry_at` that it was told (`rules.shares`). A call that found a budget busy
has a place in its line (`rules.lines`). That, and nothing else, is kept of a refused record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tenuto.tasks.clock import Millis
from tenuto.tasks.money import TOTAL, Budget, Period, Settle
from tenuto.tasks.usage import BudgetUse, LedgerEntry, UsageBy, UsageRow

__all__ = ["Money"]


class Money(Protocol):
    """Budgets, ledgers and totals."""

    async def put_budget(self, budget: Budget) -> None:
        """Defines or replaces the budget of its scope and period; what was used so far counts. That of a task or a
        tree: raises `NotFound` where there is no such task, or no such root."""

    async def drop_budget(self, scope: str, period: Period | None = None) -> bool:
        """Removes it; False when there was none."""

    async def budgets(self, prefix: str = "", limit: int = 1_000) -> Sequence[BudgetUse]:
        """Budgets whose scope begins with `prefix`, by scope, then period (for good, by day, by month)."""

    async def slow(self, key: str, delay: Millis) -> Millis:
        """No reservation that names the rate `key` is granted in the next `delay` milliseconds: its provider has asked
        for a pause. A pause is never made shorter. Returns when it ends. Claims of tasks are not held back."""

    async def settle(self, task_id: str, settles: Sequence[Settle]) -> Sequence[bool]:
        """Settles calls without holding the task: for whoever knows what a call of an earlier `attempt` did cost. For
        each, whether it was settled now; False: it was settled before, or was never reserved. Where it was under way,
        its worker cannot reserve it again."""

    async def ledger(self, task_id: str) -> Sequence[LedgerEntry]:
        """The calls of a task, in the order in which they were reserved."""

    async def usage(
        self,
        by: UsageBy,
        *,
        prefix: str = "",
        of: str = TOTAL,
        since: str | None = None,
        until: str | None = None,
        limit: int = 1_000,
    ) -> Sequence[UsageRow]:
        """What was used, a row for each key, by key.

        `prefix`: of keys. `since`, `until`: UTC days (`2026-11-21`), both included; else all time. `of`: by day, the
        scope whose days these are. Tasks and trees are not counted by day: `InvalidInput`."""
