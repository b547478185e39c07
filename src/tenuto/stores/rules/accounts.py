"""The verbs of `stores.money.Money`, the same on every engine with transactions."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from tenuto.errors import InvalidInput, NotFound
from tenuto.stores.books import Call, Count, CountName, Pace
from tenuto.stores.money import Money
from tenuto.stores.rules.lines import called
from tenuto.stores.rules.money import Plan
from tenuto.stores.rules.work import Work
from tenuto.stores.tables import Tables
from tenuto.tasks.clock import Millis
from tenuto.tasks.ids import check_name
from tenuto.tasks.money import TOTAL, Budget, Period, Settle, window_of
from tenuto.tasks.usage import BudgetUse, LedgerEntry, UsageBy, UsageRow
from tenuto.tasks.waits import budget_topic

__all__ = ["RuledMoney", "check_days", "entry_of", "no_task"]

T = TypeVar("T")

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_FIRST, _LAST = "0000-00-00", "9999-99-99"


class RuledMoney(Money):
    """Money by the rules."""

    @abstractmethod
    async def _write(self, verb: Callable[[Work], T]) -> T:
        """Runs `verb` in a transaction."""

    @abstractmethod
    async def _read(self, verb: Callable[[Tables], T]) -> T:
        """Runs `verb` on a consistent state of the store."""

    async def put_budget(self, budget: Budget) -> None:
        budget.check()

        def verb(work: Work) -> None:
            kind, _, name = budget.scope.partition(":")
            if kind in ("task", "tree"):
                task = work.tables.task(name)
                if task is None or (kind == "tree" and task.root != name):
                    raise no_task(budget.scope)
            work.tables.put_budget(budget)
            _call_all(work, budget.scope, budget.period)

        await self._write(verb)

    async def drop_budget(self, scope: str, period: Period | None = None) -> bool:
        def verb(work: Work) -> bool:
            _call_all(work, scope, period)
            return work.tables.drop_budget(scope, period)

        return await self._write(verb)

    async def budgets(self, prefix: str = "", limit: int = 1_000) -> Sequence[BudgetUse]:
        def verb(tables: Tables) -> list[BudgetUse]:
            budgets = tables.budgets(prefix, limit)
            names = [CountName(each.scope, window_of(each.period, tables.now)) for each in budgets]
            counts = tables.counted(names)
            known = [counts.get(name, Count()) for name in names]
            return [
                BudgetUse(budget, count.spent, count.reserved, name.window)
                for budget, name, count in zip(budgets, names, known, strict=True)
            ]

        return await self._read(verb)

    async def slow(self, key: str, delay: Millis) -> Millis:
        check_name(key, "the key of a rate")

        def verb(work: Work) -> Millis:
            pace = work.tables.find_books("", (), (), [key]).paces.get(key, Pace())
            until = max(pace.slow, work.now + delay)
            work.tables.put_pace(key, replace(pace, slow=until))
            return until

        return await self._write(verb)

    async def settle(self, task_id: str, settles: Sequence[Settle]) -> Sequence[bool]:
        for each in settles:
            each.check()

        def verb(work: Work) -> list[bool]:
            task = work.tables.task(task_id)
            if task is None:
                return [False] * len(settles)
            plan = Plan(work.tables, task, settles)
            done = [plan.settle(each, anew=False) for each in settles]
            plan.write()
            if plan.opened:
                work.store(task, replace(task, open_calls=task.open_calls + plan.opened))
            work.booked(plan)
            return done

        return await self._write(verb)

    async def ledger(self, task_id: str) -> Sequence[LedgerEntry]:
        return await self._read(lambda tables: [entry_of(call) for call in tables.calls(task_id)])

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
        first, last = check_days(by, of, since, until)
        if by is UsageBy.DAY:
            return await self._read(
                lambda tables: tables.totals_by_day(of, prefix, first or _FIRST, last or _LAST, limit)
            )
        return await self._read(lambda tables: tables.totals(by, prefix, first, last, limit))


def _call_all(work: Work, scope: str, period: Period | None) -> None:
    """Those who wait for room in a budget that changes ask again."""
    for budget, line in work.tables.find_books("", [scope], (), ()).purses:
        if line and budget.period == period:
            after, ids = called(line, None, Count(), work.now)
            work.tables.put_line(budget, after)
            for task_id in ids:
                work.come(task_id, budget_topic(scope))


def check_days(by: UsageBy, of: str, since: str | None, until: str | None) -> tuple[str, str]:
    """The first and the last day that are asked for; both empty where it is all time.

    Raises `InvalidInput` for what is no day, and where nothing is counted by day.
    """
    for day in (since, until):
        if day is not None and _DAY.fullmatch(day) is None:
            raise InvalidInput(f"{day!r} is no day: write it as 2026-11-21")
    if by in (UsageBy.TASK, UsageBy.TREE) and (since or until):
        raise InvalidInput(f"usage by {by} is not counted by day: leave out since and until")
    if by is UsageBy.DAY and of.partition(":")[0] in ("task", "tree"):
        raise InvalidInput(f"{of!r} is not counted by day: only owners, agents, models and the total are")
    return (since or _FIRST, until or _LAST) if since or until else ("", "")


def entry_of(call: Call) -> LedgerEntry:
    """What is told of a stored call."""
    return LedgerEntry(
        call.call, call.attempt, call.state, call.bound, call.at, call.actual, call.model, call.settled_at
    )


def no_task(scope: str) -> NotFound:
    """The error for a budget of a task or a tree that is not there."""
    kind, _, name = scope.partition(":")
    return NotFound(f"there is no {'tree with the root' if kind == 'tree' else 'task'} {name!r} to set a budget for")
