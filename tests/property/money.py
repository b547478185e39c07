"""Calls and budgets in the lives of the state machine: what is sent, what is seen, and what must hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from tenuto.stores.base import Store
from tenuto.tasks.money import NOTHING, TOTAL, Amount, AtLimit, Budget, Period, Reserve, Settle
from tenuto.tasks.outcome import Answer, Record, Recorded
from tenuto.tasks.task import Task
from tenuto.tasks.usage import CallState, LedgerEntry, UsageBy, UsageRow

__all__ = ["DECREES", "OWN_BUDGETS", "RESERVES", "SETTLES", "check", "look", "what_is_granted_is_set_aside"]

CALLS = st.sampled_from(("c0", "c1", "c2", "c3", "c4"))
MODELS = st.sampled_from(("", "m0", "m1"))
AMOUNTS = st.builds(Amount, st.integers(0, 20), st.integers(0, 5), st.integers(0, 1))
RATES = st.lists(
    st.tuples(st.sampled_from(("db", "db", "api", "free")), st.integers(0, 3)),
    max_size=2,
    unique_by=lambda rate: rate[0],
).map(tuple)
RESERVES = st.lists(
    st.builds(Reserve, CALLS, AMOUNTS, MODELS, RATES, st.sampled_from((False, False, True))), max_size=2
).map(tuple)
SETTLES = st.lists(st.builds(Settle, CALLS, AMOUNTS, RATES, st.sampled_from((0, 0, 0, 1, 2)), MODELS), max_size=2).map(
    tuple
)

LIMITS: dict[str, st.SearchStrategy[Any]] = {
    "money": st.none() | st.integers(0, 60),
    "tokens": st.none() | st.integers(0, 20),
    "requests": st.sampled_from((None, None, 3)),
    "at_limit": st.sampled_from(AtLimit),
}
OWN_BUDGETS = st.builds(Budget, **LIMITS)
"""Some of them limit nothing, and are refused with their task."""
SCOPES = st.sampled_from((TOTAL, "owner:ann", "agent:read", "model:m0", "task:t0", "tree:g0", "tree:n0", "task:t1.c0"))
BUDGETS = st.builds(Budget, SCOPES, period=st.sampled_from((None, None, *Period)), **LIMITS)

DECREES: st.SearchStrategy[Callable[[Store], Awaitable[object]]] = st.one_of(
    BUDGETS.map(lambda budget: lambda store: store.put_budget(budget)),
    st.tuples(SCOPES, st.sampled_from((None, *Period))).map(lambda pair: lambda store: store.drop_budget(*pair)),
    st.tuples(st.sampled_from(("db", "api")), st.integers(0, 2_000)).map(lambda pair: lambda store: store.slow(*pair)),
)
"""What operators ask of a store about money."""


async def look(store: Store, tasks: list[Task]) -> dict[str, Any]:
    """Everything that can be seen of money."""
    seen: dict[str, Any] = {"budgets": list(await store.budgets())}
    for by in UsageBy:
        seen[f"usage by {by}"] = list(await store.usage(by))
    seen["usage by owner and day"] = list(await store.usage(UsageBy.OWNER, since="2000-01-01"))
    for task in tasks:
        seen[f"ledger of {task.id}"] = list(await store.ledger(task.id))
    return seen


def check(seen: dict[str, Any]) -> None:
    """Raises `AssertionError` where the books do not add up."""
    tasks: dict[str, Task] = {task.id: task for task in seen["tasks"]}
    ledgers: dict[str, list[LedgerEntry]] = {task_id: seen[f"ledger of {task_id}"] for task_id in tasks}
    for task_id, task in tasks.items():
        under_way = [entry for entry in ledgers[task_id] if entry.state is CallState.RESERVED]
        assert task.open_calls == len(under_way)
        assert not under_way or task.lease_until is not None, "what nobody holds is not under way"
        assert {entry.attempt for entry in under_way} <= {task.attempt}
    by_task: dict[str, list[LedgerEntry]] = defaultdict(list)
    by_tree: dict[str, list[LedgerEntry]] = defaultdict(list)
    for task_id, task in tasks.items():
        by_tree[task.root] += ledgers[task_id]
        for name in _above(task, tasks):
            by_task[name] += ledgers[task_id]
    for by, entries in (("task", by_task), ("tree", by_tree)):
        expected = [_row(name, entries[name]) for name in sorted(entries) if entries[name]]
        assert seen[f"usage by {by}"] == expected, f"usage by {by} is the sum of the ledgers"
    days: list[UsageRow] = seen["usage by day"]
    agents: list[UsageRow] = seen["usage by agent"]
    assert _sums(days) == _sums(agents), "each call has a day and an agent"
    assert _sums(seen["usage by owner"]) == _sums(seen["usage by owner and day"])
    assert all(min(use.spent.money, use.reserved.money, use.reserved.tokens) >= 0 for use in seen["budgets"])


def what_is_granted_is_set_aside(ledger: Sequence[LedgerEntry], record: Record, recorded: Recorded) -> None:
    """Raises `AssertionError` where a reservation was granted that nobody counts."""
    if recorded.answer is not Answer.ACCEPTED:
        return
    aside = [(each.call, each.bound) for each in ledger if each.state is CallState.RESERVED]
    granted = [(each.call, each.bound) for each in record.reserves]
    assert all(aside.count(each) == granted.count(each) for each in granted)


def _above(task: Task, tasks: dict[str, Task]) -> set[str]:
    chain = {task.id}
    while task.parent is not None:
        task = tasks[task.parent]
        chain.add(task.id)
    return chain


def _row(key: str, entries: list[LedgerEntry]) -> UsageRow:
    reserved = sum((entry.bound for entry in entries if entry.state is CallState.RESERVED), NOTHING)
    counted = sum((entry.counted for entry in entries), NOTHING)
    return UsageRow(key, counted - reserved, reserved, len(entries))


def _sums(rows: list[UsageRow]) -> tuple[Amount, Amount, int]:
    spent, reserved = (row.spent for row in rows), (row.reserved for row in rows)
    return sum(spent, NOTHING), sum(reserved, NOTHING), sum(row.calls for row in rows)
