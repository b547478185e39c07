"""Ledgers, totals, budgets and paces.

A record that reserves or settles reads all that it is about in one query, and writes at once: nothing is remembered
here, since whoever writes next may be another process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tenuto.stores.books import Call, CallName, Count, CountName, Found, Pace
from tenuto.stores.rows.inboxes import InboxRows
from tenuto.stores.rows.layout import dump
from tenuto.tasks.money import Amount, Budget, Period
from tenuto.tasks.usage import CallState, UsageBy, UsageRow

__all__ = ["MoneyRows"]

_found = msgspec.json.Decoder(
    tuple[list[tuple[str, str, int, int, int, int, int, int, int]], list[Budget], list[Call], list[tuple[str, Pace]]]
)
_calls = msgspec.json.Decoder(list[Call])
_budgets = msgspec.json.Decoder(list[Budget])
_totals = msgspec.json.Decoder(list[tuple[str, int, int, int, int, int, int, int]])


class MoneyRows(InboxRows):
    """The books."""

    def find_books(
        self, task_id: str, counts: Sequence[CountName], calls: Sequence[CallName], keys: Sequence[str]
    ) -> Found:
        number = self.number_of(task_id) if calls else 0
        text = self.value("books", number, dump(counts), dump(calls), dump(keys))
        known, budgets, entries, paces = _found.decode(text)
        return Found(
            {CountName(scope, window): _count(*numbers) for scope, window, *numbers in known},
            budgets,
            {CallName(call.attempt, call.call): call for call in entries},
            dict(paces),
        )

    def put_counts(self, counts: Iterable[tuple[CountName, Count]]) -> None:
        self.run_rows("put_counts", [(*name, name.kind, *_numbers(count)) for name, count in counts])

    def put_calls(self, task_id: str, calls: Iterable[Call]) -> None:
        number = self.number_of(task_id)
        rows = [(number, call.attempt, call.call, int(call.state is CallState.RESERVED), dump(call)) for call in calls]
        self.run_rows("put_calls", rows)

    def calls(self, task_id: str) -> list[Call]:
        return self._ledger("calls", task_id)

    def reserved_calls(self, task_id: str) -> list[Call]:
        return self._ledger("reserved_calls", task_id)

    def _ledger(self, name: str, task_id: str) -> list[Call]:
        number = self.number_of(task_id)
        text = self.value(name, number) if number else None
        return _calls.decode(text) if text else []

    def put_budget(self, budget: Budget) -> None:
        self.run("put_budget", budget.scope, budget.period or "", dump(budget))

    def drop_budget(self, scope: str, period: Period | None) -> bool:
        return self.count("delete_budget", scope, period or "") > 0

    def budgets(self, prefix: str, limit: int) -> list[Budget]:
        text = self.value("budgets", prefix, limit)
        return _budgets.decode(text) if text else []

    def put_pace(self, key: str, pace: Pace) -> None:
        self.run("put_pace", key, dump(pace))

    def totals(self, by: UsageBy, prefix: str, since: str, until: str, limit: int) -> list[UsageRow]:
        return _rows(self.value("totals", by.value, f"{by.value}:{prefix}", since, until, limit))

    def totals_by_day(self, of: str, prefix: str, since: str, until: str, limit: int) -> list[UsageRow]:
        return _rows(self.value("totals_by_day", of, prefix, since, until, limit))

    def purge_books(self, numbers: str, scopes: list[str]) -> None:
        """Forgets ledgers of tasks, given by their numbers in JSON, and what belongs to `scopes`."""
        self.run("purge_calls", numbers)
        self.run("purge_counts", dump(scopes))
        self.run("purge_budgets", dump(scopes))


def _numbers(count: Count) -> tuple[int, ...]:
    counted, reserved = count.counted, count.reserved
    sums = (counted.money, counted.tokens, counted.requests, reserved.money, reserved.tokens, reserved.requests)
    return *sums, count.calls


def _count(*numbers: int) -> Count:
    return Count(Amount(*numbers[:3]), Amount(*numbers[3:6]), numbers[6])


def _rows(text: str) -> list[UsageRow]:
    found: list[UsageRow] = []
    for key, *numbers in _totals.decode(text):
        count = _count(*numbers)
        found.append(UsageRow(key, count.spent, count.reserved, count.calls))
    return found
