"""Money: budgets, what was used, and the calls of a task."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from tenuto.client.connection import Connection
from tenuto.client.reading import unknown
from tenuto.errors import InvalidInput, NotFound
from tenuto.tasks.dollars import nano_dollars
from tenuto.tasks.money import TOTAL, AtLimit, Budget, Period
from tenuto.tasks.usage import BudgetUse, LedgerEntry, UsageBy, UsageRow

__all__ = ["Spending"]

E = TypeVar("E", bound=StrEnum)


class Spending(Connection):
    """The verbs about money, tokens and requests. Amounts come back in nano-dollars: 1,000,000,000 are a dollar."""

    async def put_budget(
        self,
        scope: str,
        *,
        money: Decimal | float | str | None = None,
        tokens: int | None = None,
        requests: int | None = None,
        period: Period | str | None = None,
        at_limit: AtLimit | str = AtLimit.FAIL,
    ) -> None:
        """Defines or replaces the most that may be used in `scope`; what was used so far counts.

        scope: `task:<id>` (with all that is below it), `tree:<root>`, `owner:<name>`, `agent:<name>`, `model:<name>`,
        or `total`. money: in dollars. period: "day" or "month", in UTC; None: for good. at_limit: what becomes of a
        call that has no room: "fail", "pause" for a person, or "fallback" to a cheaper model.
        Raises `InvalidInput`, and `NotFound` for a task that is not there.
        """
        budget = Budget(
            scope,
            None if money is None else nano_dollars(money, "money"),
            tokens,
            requests,
            None if period is None else _one_of(Period, period, "period"),
            _one_of(AtLimit, at_limit, "at_limit"),
        )
        await (await self._ready()).put_budget(budget.check())

    async def drop_budget(self, scope: str, period: Period | str | None = None) -> None:
        """Removes a budget. Raises `NotFound`."""
        window = None if period is None else _one_of(Period, period, "period")
        if not await (await self._ready()).drop_budget(scope, window):
            per = "" if window is None else f" per {window}"
            raise NotFound(f"there is no budget{per} for {scope!r}")

    async def budgets(self, prefix: str = "", limit: int = 1_000) -> Sequence[BudgetUse]:
        """Budgets whose scope begins with `prefix`, and how much of each is used, by scope."""
        return await (await self._ready()).budgets(prefix, limit)

    async def usage(
        self,
        by: UsageBy | str = UsageBy.OWNER,
        *,
        prefix: str = "",
        of: str = TOTAL,
        since: date | str | None = None,
        until: date | str | None = None,
        limit: int = 1_000,
    ) -> Sequence[UsageRow]:
        """What was used, by "owner", "agent", "model", "tree", "task" or "day": a row for each, by name.

        prefix: only what begins with it. since, until: UTC days, both included; not for tasks and trees. of: by day,
        the scope whose days these are, such as `owner:ann`.
        """
        first, last = (None if day is None else str(day) for day in (since, until))
        store = await self._ready()
        chosen = _one_of(UsageBy, by, "by")
        return await store.usage(chosen, prefix=prefix, of=of, since=first, until=last, limit=limit)

    async def ledger(self, task_id: str) -> Sequence[LedgerEntry]:
        """The calls that a task has made, in order; those of its children are theirs. Raises `NotFound`."""
        store = await self._ready()
        found = await store.ledger(task_id)
        if not found and await store.task(task_id) is None:
            raise unknown(task_id)
        return found


def _one_of(kind: type[E], name: str, field: str) -> E:
    try:
        return kind(name)
    except ValueError:
        raise InvalidInput(f"{field} must be one of {', '.join(kind)}, not {name!r}") from None
