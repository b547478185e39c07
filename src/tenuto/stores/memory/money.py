"""The books of the reference model, in dictionaries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tenuto.stores.books import Books, Call, CallName, Count, CountName, Found, Line, Pace, Purse
from tenuto.tasks.money import Budget, Period
from tenuto.tasks.usage import CallState, UsageBy, UsageRow

__all__ = ["MemoryBooks"]


class MemoryBooks(Books):
    """Ledgers, totals and budgets."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[CountName, Count] = {}
        self.ledgers: dict[str, dict[CallName, Call]] = defaultdict(dict)
        self.purses: dict[tuple[str, str], Purse] = {}
        self.paces: dict[str, Pace] = {}

    def find_books(self, task_id: str, scopes: Sequence[str], calls: Sequence[CallName], keys: Sequence[str]) -> Found:
        known = self.ledgers.get(task_id, {})
        return Found(
            [purse for (scope, _), purse in self.purses.items() if scope in scopes],
            {name: known[name] for name in calls if name in known},
            {key: self.paces[key] for key in keys if key in self.paces},
        )

    def counted(self, names: Sequence[CountName]) -> dict[CountName, Count]:
        return {name: self.counts[name] for name in names if name in self.counts}

    def add_counts(self, counts: Mapping[CountName, Count]) -> None:
        for name, more in counts.items():
            self.counts[name] = self.counts.get(name, Count()) + more

    def put_calls(self, task_id: str, calls: Iterable[Call]) -> None:
        for call in calls:
            self.ledgers[task_id][CallName(call.attempt, call.call)] = call

    def calls(self, task_id: str) -> list[Call]:
        return list(self.ledgers.get(task_id, {}).values())

    def reserved_calls(self, task_id: str) -> list[Call]:
        return [call for call in self.calls(task_id) if call.state is CallState.RESERVED]

    def put_budget(self, budget: Budget) -> None:
        name = (budget.scope, budget.period or "")
        self.purses[name] = Purse(budget, self.purses[name].line if name in self.purses else {})

    def put_line(self, budget: Budget, line: Line) -> None:
        self.purses[budget.scope, budget.period or ""] = Purse(budget, line)

    def drop_budget(self, scope: str, period: Period | None) -> bool:
        return self.purses.pop((scope, period or ""), None) is not None

    def budgets(self, prefix: str, limit: int) -> list[Budget]:
        return [self.purses[name].budget for name in sorted(self.purses) if name[0].startswith(prefix)][:limit]

    def put_pace(self, key: str, pace: Pace) -> None:
        self.paces[key] = pace

    def totals(self, by: UsageBy, prefix: str, since: str, until: str, limit: int) -> list[UsageRow]:
        sums: dict[str, Count] = {}
        begins = f"{by.value}:{prefix}"
        for name, count in self.counts.items():
            asked = since <= name.window <= until and len(name.window) == len(since)
            if name.scope.startswith(begins) and asked:
                sums[name.scope] = sums.get(name.scope, Count()) + count
        return [_row(scope.partition(":")[2], sums[scope]) for scope in sorted(sums)][:limit]

    def totals_by_day(self, of: str, prefix: str, since: str, until: str, limit: int) -> list[UsageRow]:
        days = sorted(
            name.window
            for name in self.counts
            if name.scope == of
            and name.window.startswith(prefix)
            and since <= name.window <= until
            and len(name.window) == len(since)
        )
        return [_row(day, self.counts[CountName(of, day)]) for day in days[:limit]]

    def purge_books(self, root: str, gone: Iterable[str]) -> None:
        """Forgets what belongs to the tasks `gone` of a tree."""
        scopes = {f"tree:{root}", *(f"task:{task_id}" for task_id in gone)}
        for task_id in gone:
            self.ledgers.pop(task_id, None)
        self.counts = {name: count for name, count in self.counts.items() if name.scope not in scopes}
        self.purses = {name: purse for name, purse in self.purses.items() if name[0] not in scopes}


def _row(key: str, count: Count) -> UsageRow:
    return UsageRow(key, count.spent, count.reserved, count.calls)
