"""Reserving and settling calls: what a record means for the books. See `stores.money` for what is kept.

A record is all or nothing, so a `Plan` works out what it changes before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from msgspec.structs import replace

from tenuto.stores.books import Call, CallName, Count, CountName, Found, Line, Place, Purse
from tenuto.stores.rules import lines
from tenuto.stores.rules.calls import check_calls
from tenuto.stores.rules.rates import Rates
from tenuto.stores.tables import Tables
from tenuto.tasks.clock import Millis
from tenuto.tasks.money import (
    NOTHING,
    TOTAL,
    Amount,
    Period,
    Refusal,
    RefusalKind,
    Reserve,
    Settle,
    next_window,
    window_of,
)
from tenuto.tasks.task import Task
from tenuto.tasks.usage import CallState
from tenuto.tasks.waits import budget_topic

__all__ = ["Plan", "abandoned"]

_PERIODS = (None, Period.MONTH, Period.DAY)


class Plan:
    """What reservations and settlements of one task change, before it is certain that they may."""

    def __init__(
        self, tables: Tables, task: Task, settles: Sequence[Settle] = (), reserves: Sequence[Reserve] = ()
    ) -> None:
        """Reads what they are about. Raises `InvalidInput` where one of them makes no sense."""
        both: list[Settle | Reserve] = [*settles, *reserves]
        for each in both:
            each.check()
        self._tables = tables
        self._task = task
        self._now: Millis = tables.now
        self._chain = _chain(tables, task)
        names = [CallName(settle.attempt or task.attempt, settle.call) for settle in settles]
        names += [CallName(task.attempt, reserve.call) for reserve in reserves]
        self._scopes = dict.fromkeys(scope for each in both for scope in self._scopes_of(each.model))
        keys = dict.fromkeys(key for each in both for key, _ in each.rates)
        found = tables.find_books(task.id, list(self._scopes), names, list(keys)) if both else Found([], {}, {})
        self._calls = found.calls
        self._rates = Rates(tables, task.owner, found.paces)
        self._purses: dict[tuple[str, Period | None], Purse] = {}
        self._stored: dict[CountName, Count] = {}
        """what was counted so far where there are budgets"""
        self._know(found.purses)
        self._changed_purses: set[tuple[str, Period | None]] = set()
        self._added: dict[CountName, Count] = {}
        self._own: dict[CountName, Amount] = {}
        """what this plan itself has reserved"""
        self._changed_calls: dict[CallName, None] = {}
        self._gives_room = False
        self.opened = 0
        """how many more calls of the present attempt are reserved"""
        self.called: list[tuple[str, str]] = []
        """once it is written, or refused: tasks whose turn it is in a budget, and the topic that has come for them"""

    @property
    def freed(self) -> set[str]:
        """Limits that units were given back to."""
        return self._rates.freed

    def check(self, settles: Sequence[Settle], reserves: Sequence[Reserve]) -> None:
        """Raises `InvalidInput` where the attempt that holds the task cannot say that."""
        check_calls(self._task.id, self._task.attempt, self._calls, settles, reserves)

    # -- settling

    def settle(self, settle: Settle, *, anew: bool = True) -> bool:
        """Plans a settlement; False when it changes nothing. `anew`: also of a call that was not reserved."""
        name = CallName(settle.attempt or self._task.attempt, settle.call)
        call = self._calls.get(name)
        if call is None:
            if anew:
                actual, now = settle.actual, self._now
                call = Call(name.call, name.attempt, CallState.SETTLED, actual, now, actual, settle.model, now)
                self._put(call, actual, NOTHING, 1)
            return anew
        if call.state is CallState.SETTLED:
            return False
        was_reserved = call.state is CallState.RESERVED
        self.opened -= was_reserved and name.attempt == self._task.attempt
        used = dict(settle.rates)
        for taken in call.taken:
            if taken.key in used:
                self._rates.correct(taken, used[taken.key])
        settled = replace(call, state=CallState.SETTLED, actual=settle.actual, settled_at=self._now)
        self._put(settled, settle.actual - call.bound, NOTHING - call.bound if was_reserved else NOTHING)
        self._gives_room = True
        return True

    def abandon(self, call: Call) -> None:
        """Plans that a reserved call is unknown."""
        self._put(replace(call, state=CallState.UNKNOWN), NOTHING, NOTHING - call.bound)
        self._gives_room = True

    # -- reserving

    def reserve(self, reserve: Reserve) -> Refusal | None:
        """Plans a reservation; why it has no room."""
        name = CallName(self._task.attempt, reserve.call)
        if name in self._calls:
            return None  # it is the same, and was granted before
        purses = self._purses_of(reserve.model)
        refusal = (self._over_budget(reserve, purses) if purses else None) or self._rates.refusal(reserve)
        if refusal is not None:
            return refusal
        for purse in purses:
            self._leave(purse)
        taken = self._rates.take(reserve)
        bound, now = reserve.bound, self._now
        call = Call(name.call, name.attempt, CallState.RESERVED, bound, now, model=reserve.model, taken=taken)
        self._put(call, bound, bound, 1)
        for purse in purses:
            counter = self._counter(purse)
            self._own[counter] = self._own.get(counter, NOTHING) + bound
        self.opened += 1
        return None

    def _over_budget(self, reserve: Reserve, purses: Sequence[Purse]) -> Refusal | None:
        """Why it has no room in budgets: one that is spent goes before one that is busy."""
        now, bound, task_id = self._now, reserve.bound, self._task.id
        since = lines.since((purse.line for purse in purses), task_id, now)
        busy: tuple[Purse, tuple[str, int]] | None = None
        for purse in purses:
            budget, count, own = purse.budget, self._count(purse), self._own.get(self._counter(purse), NOTHING)
            unpriced = reserve.unpriced and budget.money is not None
            short = ("price", 0) if unpriced else budget.short(count.spent + own, bound)
            if short is not None:
                self._give_up(purses)
                retry_at = None if unpriced else next_window(budget.period, now)
                return _refusal(reserve, RefusalKind.BUDGET, purse, now, retry_at, short)
            short = budget.short(count.counted + lines.kept(purse.line, task_id, since, now), bound)
            if short is not None and busy is None:
                busy = purse, short
        if busy is None:
            return None
        purse, short = busy
        retry_at = now + lines.PATIENCE
        place = Place(since, retry_at + lines.GRACE, bound)
        self._tables.put_line(purse.budget, lines.joined(purse.line, task_id, place, now))
        return _refusal(reserve, RefusalKind.BUSY, purse, now, retry_at, short)

    def _give_up(self, purses: Sequence[Purse]) -> None:
        """The task has no room for good: what was kept for it is for those behind it, although nothing is recorded."""
        for purse in purses:
            if self._task.id in purse.line:
                line = lines.without(purse.line, self._task.id)
                line, ids = lines.called(line, purse.budget, self._count(purse), self._now)
                self._tables.put_line(purse.budget, line)
                self.called += [(each, budget_topic(purse.budget.scope)) for each in ids]

    def _leave(self, purse: Purse) -> None:
        if self._task.id in purse.line:
            self._put_line(purse, lines.without(purse.line, self._task.id))

    # -- the books

    def write(self) -> None:
        """Writes what was planned."""
        if self._gives_room:
            self._call()
        self._tables.add_counts(self._added)
        self._tables.put_calls(self._task.id, [self._calls[name] for name in self._changed_calls])
        self._rates.write()
        for key in sorted(self._changed_purses, key=_by_scope):
            self._tables.put_line(*self._purses[key])

    def _call(self) -> None:
        """Those who wait for room, where there is more now than before."""
        for purse in [self._purses[key] for key in sorted(self._purses, key=_by_scope) if self._purses[key].line]:
            line, ids = lines.called(purse.line, purse.budget, self._count(purse), self._now)
            self._put_line(purse, line)
            self.called += [(each, budget_topic(purse.budget.scope)) for each in ids]

    def _know(self, purses: Sequence[Purse]) -> None:
        if purses:
            self._purses.update(((purse.budget.scope, purse.budget.period), purse) for purse in purses)
            self._stored |= self._tables.counted([self._counter(purse) for purse in purses])

    def _purses_of(self, model: str) -> list[Purse]:
        """The budgets of a call, from the task upwards."""
        if not self._purses:
            return []
        keys = [(scope, period) for scope in self._scopes_of(model) for period in _PERIODS]
        return [self._purses[key] for key in keys if key in self._purses]

    def _put_line(self, purse: Purse, line: Line) -> None:
        key = (purse.budget.scope, purse.budget.period)
        self._purses[key] = Purse(purse.budget, line)
        self._changed_purses.add(key)

    def _counter(self, purse: Purse) -> CountName:
        """Under which name is counted what a budget limits now."""
        return CountName(purse.budget.scope, window_of(purse.budget.period, self._now))

    def _count(self, purse: Purse) -> Count:
        """What is counted there, with what is planned."""
        name = self._counter(purse)
        return self._stored.get(name, Count()) + self._added.get(name, Count())

    def _put(self, call: Call, counted: Amount, reserved: Amount, calls: int = 0) -> None:
        """A call as it is now, and how much more is counted for it."""
        name = CallName(call.attempt, call.call)
        self._calls[name] = call
        self._changed_calls[name] = None
        scopes = self._scopes_of(call.model)
        missing = [scope for scope in scopes if scope not in self._scopes]
        if missing:
            self._scopes |= dict.fromkeys(missing)
            self._know(self._tables.find_books("", missing, (), ()).purses)
        more = Count(counted, reserved, calls)
        for counter in _counters(scopes, tuple(window_of(period, call.at) for period in _PERIODS)):
            before = self._added.get(counter)
            self._added[counter] = more if before is None else before + more

    def _scopes_of(self, model: str) -> tuple[str, ...]:
        """What a call to `model` counts against."""
        task = self._task
        named = (("owner", task.owner), ("agent", task.agent), ("model", model))
        return (
            *(f"task:{each}" for each in self._chain),
            f"tree:{task.root}",
            *(f"{kind}:{name}" for kind, name in named if name),
            TOTAL,
        )


@lru_cache(maxsize=256)
def _counters(scopes: tuple[str, ...], windows: tuple[str, ...]) -> tuple[CountName, ...]:
    """Under which names a call is counted: tasks and trees for good, the others also per window."""
    return tuple(
        CountName(scope, window)
        for scope in scopes
        for window in (windows[:1] if scope.startswith(("task:", "tree:")) else windows)
    )


def abandoned(tables: Tables, task: Task) -> Plan:
    """The attempt that held `task` is over: its calls that are still reserved are unknown. What was written."""
    plan = Plan(tables, task)
    for call in tables.reserved_calls(task.id):
        plan.abandon(call)
    plan.write()
    return plan


def _by_scope(key: tuple[str, Period | None]) -> tuple[str, str]:
    return key[0], key[1] or ""


def _refusal(
    reserve: Reserve, kind: RefusalKind, purse: Purse, now: Millis, retry_at: Millis | None, short: tuple[str, int]
) -> Refusal:
    budget = purse.budget
    return Refusal(reserve.call, budget.scope, kind, now, retry_at, *short, budget.period, budget.at_limit)


def _chain(tables: Tables, task: Task) -> list[str]:
    """The task, and those above it."""
    chain = [task.id]
    while task.parent is not None:
        chain.append(task.parent)
        above = tables.task(task.parent)
        if above is None:
            break
        task = above
    return chain
