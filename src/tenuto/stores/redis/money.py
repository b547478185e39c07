"""Money, tokens and requests on this engine: what the scripts keep (`lua/pieces/money.lua`), and what is read of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from tenuto.stores.books import Count, CountName
from tenuto.stores.money import Money
from tenuto.stores.rules.accounts import check_days, no_task
from tenuto.tasks.clock import Millis
from tenuto.tasks.ids import check_name
from tenuto.tasks.money import (
    TOTAL,
    Amount,
    AtLimit,
    Budget,
    Period,
    Refusal,
    RefusalKind,
    Reserve,
    Settle,
    window_of,
)
from tenuto.tasks.usage import BudgetUse, CallState, LedgerEntry, UsageBy, UsageRow

__all__ = ["RedisMoney", "refusal_of", "reserve_parts", "settle_parts"]

_SEPARATOR = "\x1f"
_MOST_FIELDS = 1_000
"""Fields of a hash that one script looks at, about."""
_SPECIAL = str.maketrans({each: f"\\{each}" for each in "*?[]\\"})
_FIRST, _LAST = "0000-00-00", "9999-99-99"


class RedisMoney(Money):
    """The part of a Redis store that counts money."""

    @abstractmethod
    async def now(self) -> Millis:
        """The engine's clock."""

    @abstractmethod
    async def _read(self, name: str, *given: Any) -> Any:
        """What the script in `lua/reads/` answers, bytes as they came."""

    @abstractmethod
    async def _fetch(self, command: str, key: str, *given: Any) -> Any:
        """What a plain command on a key of this store answers."""

    @abstractmethod
    async def _write(
        self, name: str, given: Any, weight: int = 1, who: str = "", number: int = 0, *, once: bool = True
    ) -> Any:
        """What a script that writes answers."""

    # -- writing

    async def put_budget(self, budget: Budget) -> None:
        budget.check()
        kind, _, name = budget.scope.partition(":")
        given = ("put", budget.scope, budget.period or "", kind, name, _budget_parts(budget))
        if not await self._write("money", given):
            raise no_task(budget.scope)

    async def drop_budget(self, scope: str, period: Period | None = None) -> bool:
        return cast(bool, await self._write("money", ("drop", scope, period or "")))

    async def slow(self, key: str, delay: Millis) -> Millis:
        check_name(key, "the key of a rate")
        return cast(Millis, await self._write("money", ("slow", key, delay)))

    async def settle(self, task_id: str, settles: Sequence[Settle]) -> Sequence[bool]:
        for each in settles:
            each.check()
        given = ("settle", task_id, [settle_parts(each) for each in settles])
        return cast(Sequence[bool], await self._write("money", given, len(settles) + 1) or [])

    # -- reading

    async def budgets(self, prefix: str = "", limit: int = 1_000) -> Sequence[BudgetUse]:
        found = [(_budget_of(field, text)) async for field, text in self._scan("budgets", prefix)]
        found.sort(key=lambda budget: (budget.scope, budget.period or ""))
        now = await self.now()
        names = [CountName(each.scope, window_of(each.period, now)) for each in found[:limit]]
        counts = await self._counts(names)
        return [
            BudgetUse(budget, counts[name].spent, counts[name].reserved, name.window)
            for budget, name in zip(found, names, strict=False)
        ]

    async def ledger(self, task_id: str) -> Sequence[LedgerEntry]:
        flat = await self._fetch("HGETALL", f"ledger:{task_id}")
        entries = [_entry_of(flat[at].decode(), flat[at + 1].decode()) for at in range(0, len(flat), 2)]
        return [entry for _, entry in sorted(entries, key=lambda each: each[0])]

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
            counts = await self._by_day(of, prefix, first or _FIRST, last or _LAST)
        else:
            counts = await self._by_name(by, prefix, first, last)
        rows = [UsageRow(key, counts[key].spent, counts[key].reserved, counts[key].calls) for key in sorted(counts)]
        return rows[:limit]

    async def _by_day(self, of: str, prefix: str, first: str, last: str) -> dict[str, Count]:
        days = [day for day in await self._days(first, last) if day.startswith(prefix)]
        counts = await self._counts([CountName(of, day) for day in days])
        return {name.window: count for name, count in counts.items() if count.calls}

    async def _by_name(self, by: UsageBy, prefix: str, first: str, last: str) -> dict[str, Count]:
        sums: dict[str, Count] = {}
        for window in await self._days(first, last) if first else [""]:
            async for name, text in self._scan(f"count:{by.value}:{window}", prefix):
                known, more = sums.get(name, Count()), _count_of(text)
                counted, reserved = known.counted + more.counted, known.reserved + more.reserved
                sums[name] = Count(counted, reserved, known.calls + more.calls)
        return sums

    async def _days(self, first: str, last: str) -> list[str]:
        """Days with counts, from the first to the last, in order."""
        found = [day.decode() for day in await self._fetch("SMEMBERS", "days")]
        return sorted(day for day in found if first <= day <= last)

    async def _counts(self, names: Sequence[CountName]) -> Mapping[CountName, Count]:
        found: dict[CountName, Count] = {}
        for begin in range(0, len(names), _MOST_FIELDS):
            some = names[begin : begin + _MOST_FIELDS]
            given = [part for each in some for part in (_hash_of(each), each.scope.partition(":")[2])]
            for name, text in zip(some, await self._read("fields", *given), strict=True):
                found[name] = Count() if text is None else _count_of(text.decode())
        return found

    async def _scan(self, key: str, prefix: str) -> AsyncIterator[tuple[str, str]]:
        """Fields that begin with `prefix`, and their values, in no order; each once."""
        cursor, seen = b"0", set[str]()
        pattern = f"{prefix.translate(_SPECIAL)}*"
        while True:
            cursor, flat = await self._read("scan", key, cursor, pattern, _MOST_FIELDS)
            for at in range(0, len(flat), 2):
                field = flat[at].decode()
                if field not in seen:
                    seen.add(field)
                    yield field, flat[at + 1].decode()
            if cursor == b"0":
                return


# -- to the server -----------------------------------------------------------------------------------------


def settle_parts(settle: Settle) -> dict[str, Any]:
    """A settlement as `money.settle` takes it."""
    return {
        "call": settle.call,
        "attempt": settle.attempt,
        "actual": _amount_parts(settle.actual),
        "rates": dict(settle.rates),
        "model": settle.model,
    }


def reserve_parts(reserve: Reserve) -> dict[str, Any]:
    """A reservation as `money.reserve` takes it."""
    bound = _amount_parts(reserve.bound)
    parts = {"call": reserve.call, "bound": bound, "model": reserve.model, "rates": reserve.rates}
    return parts | {"unpriced": True} if reserve.unpriced else parts


def _amount_parts(amount: Amount) -> tuple[int, int, int]:
    return amount.money, amount.tokens, amount.requests


def _budget_parts(budget: Budget) -> list[Any]:
    limits = (budget.money, budget.tokens, budget.requests)
    return [*(False if limit is None else limit for limit in limits), budget.at_limit.value]


# -- from the server ---------------------------------------------------------------------------------------


def refusal_of(parts: Sequence[Any]) -> Refusal:
    """Why a reservation was not granted, as `money.reserve` says it."""
    call, key, kind, now, retry_at, *budget = parts
    retry_at = None if retry_at is False else retry_at
    if not budget:
        return Refusal(call, key, RefusalKind(kind), now, retry_at)
    short, left, period, at_limit = budget
    window = Period(period) if period else None
    return Refusal(call, key, RefusalKind(kind), now, retry_at, short, left, window, AtLimit(at_limit))


def _budget_of(field: str, text: str) -> Budget:
    scope, _, period = field.partition(_SEPARATOR)
    *limits, at_limit = text.split(" ")
    money, tokens, requests = (None if limit == "-" else int(limit) for limit in limits)
    return Budget(scope, money, tokens, requests, Period(period) if period else None, AtLimit(at_limit))


def _hash_of(name: CountName) -> str:
    return f"count:{name.kind}:{name.window}"


def _count_of(text: str) -> Count:
    numbers = [int(word) for word in text.split(" ")]
    return Count(Amount(*numbers[:3]), Amount(*numbers[3:6]), numbers[6])


def _entry_of(name: str, text: str) -> tuple[int, LedgerEntry]:
    """A call's place in its ledger, and the call."""
    attempt, _, call = name.partition(":")
    order, state, model, bound, at, actual, settled_at = text.split("\n")[:7]
    entry = LedgerEntry(
        call,
        int(attempt),
        CallState(state),
        _amount_of(bound),
        int(at),
        _amount_of(actual) if actual else None,
        model,
        int(settled_at) if settled_at else None,
    )
    return int(order), entry


def _amount_of(text: str) -> Amount:
    return Amount(*map(int, text.split(" ")))
