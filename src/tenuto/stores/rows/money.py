"""Ledgers, totals, budgets and paces.

A record that reserves or settles reads what it is about in one query, except for what is at hand: budgets, paces, and
the calls of attempts that began here stay so as long as nobody else writes. So a call of such an attempt reads nothing,
neither when it is reserved nor when it is settled. Totals are added to, and only read where there is a budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tenuto.stores.books import Call, CallName, Count, CountName, Found, Line, Pace, Purse
from tenuto.stores.rows.inboxes import InboxRows
from tenuto.stores.rows.layout import Row, dump
from tenuto.stores.rows.session import Clock, Statements
from tenuto.tasks.money import Amount, Budget, Period
from tenuto.tasks.usage import CallState, UsageBy, UsageRow

__all__ = ["MoneyRows"]

_MOST_AT_HAND = 4_096
"""Scopes, paces and calls that are remembered, of each."""

_found = msgspec.json.Decoder(tuple[list[Purse], list[Call], list[tuple[str, Pace]]])
_counts = msgspec.json.Decoder(list[tuple[str, str, int, int, int, int, int, int, int]])
_calls = msgspec.json.Decoder(list[Call])
_budgets = msgspec.json.Decoder(list[Budget])
_totals = msgspec.json.Decoder(list[tuple[str, int, int, int, int, int, int, int]])


class MoneyRows(InboxRows):
    """The books."""

    def __init__(self, statements: Statements, clock: Clock) -> None:
        super().__init__(statements, clock)
        self._purses: dict[str, list[Purse]] = {}
        """by scope"""
        self._paces: dict[str, Pace | None] = {}
        self._under_way: dict[tuple[int, CallName], Call] = {}
        """calls that are reserved, by the number of their task"""

    def find_books(self, task_id: str, scopes: Sequence[str], calls: Sequence[CallName], keys: Sequence[str]) -> Found:
        row = self.row(task_id) if calls else None
        number = 0 if row is None else row.number
        found = {name: call for name in calls if (call := self._under_way.get((number, name))) is not None}
        new_scopes = [scope for scope in scopes if scope not in self._purses]
        new_calls = [name for name in calls if name not in found and not (row and _is_first(row, name))]
        new_keys = [key for key in keys if key not in self._paces]
        if new_scopes or new_calls or new_keys:
            text = self.value("books", number, dump(new_scopes), dump(new_calls), dump(new_keys))
            purses, entries, paces = _found.decode(text)
            found |= {CallName(call.attempt, call.call): call for call in entries}
            self._purses |= {scope: [each for each in purses if each.budget.scope == scope] for scope in new_scopes}
            self._paces |= {**dict.fromkeys(new_keys), **dict(paces)}
        known = [purse for scope in scopes for purse in self._purses[scope]]
        return Found(known, found, {key: pace for key in keys if (pace := self._paces[key]) is not None})

    def trim_books(self) -> None:
        """Remembers no more than there is room for."""
        for known in (self._purses, self._paces, self._under_way):
            if len(known) > _MOST_AT_HAND:
                known.clear()

    def forget_books(self) -> None:
        """What is remembered may not be true any more."""
        self._purses.clear()
        self._paces.clear()
        self._under_way.clear()

    def counted(self, names: Sequence[CountName]) -> dict[CountName, Count]:
        found = _counts.decode(self.value("counts", dump(names)))
        return {CountName(scope, window): _count(*numbers) for scope, window, *numbers in found}

    def add_counts(self, counts: Mapping[CountName, Count]) -> None:
        self.run_rows("add_counts", [(*name, name.kind, *_numbers(count)) for name, count in counts.items()])

    def put_calls(self, task_id: str, calls: Iterable[Call]) -> None:
        row = self.row(task_id)
        if row is None:
            raise KeyError(task_id)
        number, calls = row.number, list(calls)
        for call in calls:
            name = CallName(call.attempt, call.call)
            if row.calls is not None and call.attempt == row.task.attempt:
                row.calls.add(call.call)
            if call.state is CallState.RESERVED:
                self._under_way[number, name] = call
            else:
                self._under_way.pop((number, name), None)
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
        self._purses.pop(budget.scope, None)
        self.run("put_budget", budget.scope, budget.period or "", dump(budget))

    def put_line(self, budget: Budget, line: Line) -> None:
        self._purses.pop(budget.scope, None)
        self.run("put_line", budget.scope, budget.period or "", dump(line))

    def drop_budget(self, scope: str, period: Period | None) -> bool:
        self._purses.pop(scope, None)
        return self.count("delete_budget", scope, period or "") > 0

    def budgets(self, prefix: str, limit: int) -> list[Budget]:
        text = self.value("budgets", prefix, limit)
        return _budgets.decode(text) if text else []

    def put_pace(self, key: str, pace: Pace) -> None:
        self._paces[key] = pace
        self.run("put_pace", key, dump(pace))

    def totals(self, by: UsageBy, prefix: str, since: str, until: str, limit: int) -> list[UsageRow]:
        return _rows(self.value("totals", by.value, f"{by.value}:{prefix}", since, until, limit))

    def totals_by_day(self, of: str, prefix: str, since: str, until: str, limit: int) -> list[UsageRow]:
        return _rows(self.value("totals_by_day", of, prefix, since, until, limit))

    def purge_books(self, numbers: str, scopes: list[str]) -> None:
        """Forgets ledgers of tasks, given by their numbers in JSON, and what belongs to `scopes`."""
        self.forget_books()
        self.run("purge_calls", numbers)
        self.run("purge_counts", dump(scopes))
        self.run("purge_budgets", dump(scopes))


def _is_first(row: Row, name: CallName) -> bool:
    """The ledger is known to have no call of this name yet."""
    return row.calls is not None and name.attempt == row.task.attempt and name.call not in row.calls


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
