"""Reserving and settling calls: what a record means for the books. See `stores.money` for what is kept.

A record is all or nothing, so a `Plan` works out what it changes before anything is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from tenuto.stores.books import Call, CallName, Count, CountName, Found, Pace, Taken
from tenuto.stores.rules import shares
from tenuto.stores.tables import Tables, Usage
from tenuto.tasks.clock import Millis
from tenuto.tasks.limits import Limit
from tenuto.tasks.money import (
    NOTHING,
    TOTAL,
    Amount,
    Budget,
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

__all__ = ["Plan", "abandon", "start_afresh"]

_NEVER = 1e10
"""Milliseconds: no rate is used up for longer than that."""

_SOON: Millis = 25
"""After so long it is worth another try, for who is refused for the sake of somebody else."""

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
        self._named: dict[tuple[str, str], list[CountName]] = {}
        counts = list(dict.fromkeys(name for each in both for name in self._names(each.model, self._now)))
        keys = dict.fromkeys(key for each in both for key, _ in each.rates)
        found = tables.find_books(task.id, counts, names, list(keys)) if both else Found({}, [], {}, {})
        self._calls = found.calls
        self._stored = found.paces
        self._paces = dict(found.paces)
        self._changed_paces: set[str] = set()
        self._budgets = {(each.scope, each.period): each for each in found.budgets}
        self._counts = {name: found.counts.get(name, Count()) for name in counts}
        self._usages: dict[str, Usage] = {}
        self._changed_counts: set[CountName] = set()
        self._changed_calls: dict[CallName, None] = {}
        self.freed: set[str] = set()
        """limits that units were given back to"""
        self.opened = 0
        """how many more calls of the present attempt are reserved"""

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
                self._correct(taken, used[taken.key])
        settled = replace(call, state=CallState.SETTLED, actual=settle.actual, settled_at=self._now)
        self._put(settled, settle.actual - call.bound, NOTHING - call.bound if was_reserved else NOTHING)
        return True

    def abandon(self, call: Call) -> None:
        """Plans that a reserved call is unknown."""
        self._put(replace(call, state=CallState.UNKNOWN), NOTHING, NOTHING - call.bound)

    def _correct(self, taken: Taken, used: int) -> None:
        """Units beyond what was taken are taken now; of what was not used, as much is given back as is safe.

        It is safe while the arrival time that was left right after the call, less all that was given back since, lies
        ahead: then whatever came after it was added to it, and would have been added to the lesser one just so.
        """
        usage, pace = self._usage(taken.key), self._paces.get(taken.key, Pace())
        limit = usage.limit
        if limit is None or limit.interval != taken.interval:
            return
        if used > taken.units:
            tat = limit.taken(usage.tat, self._now, used - taken.units)
            self._usages[taken.key] = replace(usage, tat=tat)
            return
        ahead = taken.tat - (pace.given - taken.given) - self._now
        back = min(taken.units - used, math.floor(ahead / limit.interval))
        if back > 0:
            span = back * limit.interval
            self._usages[taken.key] = replace(usage, tat=usage.tat - span)
            self._paces[taken.key] = replace(pace, given=pace.given + span)
            self._changed_paces.add(taken.key)
            self.freed.add(taken.key)

    # -- reserving

    def reserve(self, reserve: Reserve) -> Refusal | None:
        """Plans a reservation; why it has no room."""
        name = CallName(self._task.attempt, reserve.call)
        if name in self._calls:
            return None  # it was granted before
        refusal = self._over_budget(reserve) or self._too_fast(reserve)
        if refusal is not None:
            return refusal
        taken = tuple(each for key, units in reserve.rates if (each := self._take(key, units)) is not None)
        bound, now = reserve.bound, self._now
        call = Call(name.call, name.attempt, CallState.RESERVED, bound, now, model=reserve.model, taken=taken)
        self._put(call, bound, bound, 1)
        self.opened += 1
        return None

    def _over_budget(self, reserve: Reserve) -> Refusal | None:
        for scope in self._scopes(reserve.model) if self._budgets else ():
            for period in _PERIODS:
                budget = self._budgets.get((scope, period))
                refusal = None if budget is None else self._short(budget, reserve)
                if refusal is not None:
                    return refusal
        return None

    def _short(self, budget: Budget, reserve: Reserve) -> Refusal | None:
        now, period = self._now, budget.period
        count = self._counts[CountName(budget.scope, window_of(period, now))]
        short = budget.short(count.counted, reserve)
        if short is None:
            return None
        call, scope, retry_at = reserve.call, budget.scope, None if short[0] == "price" else next_window(period, now)
        return Refusal(call, scope, RefusalKind.BUDGET, now, retry_at, *short, period, budget.at_limit)

    def _too_fast(self, reserve: Reserve) -> Refusal | None:
        for key, units in reserve.rates:
            slow = self._paces.get(key, Pace()).slow
            if slow > self._now:
                return Refusal(reserve.call, key, RefusalKind.SLOW, self._now, slow)
            usage = self._usage(key)
            limit = usage.limit
            if limit is None or not limit.rate or not units:
                continue
            if units > limit.burst:
                return Refusal(reserve.call, key, RefusalKind.RATE, self._now)
            at = self._when(key, limit, usage.tat, units)
            if at > self._now:
                stored = self._stored.get(key, Pace())
                self._tables.put_pace(key, shares.refused(stored, self._task.owner, self._now, at))
                return Refusal(reserve.call, key, RefusalKind.RATE, self._now, at)
        return None

    def _when(self, key: str, limit: Limit, tat: float, units: int) -> Millis:
        """When it is worth a try to take `units` of a rate: now, where there is room and nobody goes before."""
        at = limit.allowed_at(tat, units)
        first = shares.first_in_line(self._paces.get(key, Pace()), self._task.owner, self._now)
        if at > self._now or first is None:
            return at
        after = limit.allowed_at(limit.taken(tat, self._now, units), units)
        return min(first.until + 1, max(after, self._now + _SOON))

    def _take(self, key: str, units: int) -> Taken | None:
        usage = self._usage(key)
        limit = usage.limit
        if limit is None or not limit.rate or not units:
            return None
        tat, pace = limit.taken(usage.tat, self._now, units), self._paces.get(key, Pace())
        self._usages[key] = replace(usage, tat=tat)
        if pace.shares:
            self._paces[key] = shares.granted(pace, self._task.owner, self._now, units)
            self._changed_paces.add(key)
        return Taken(key, units, tat, limit.interval, pace.given)

    # -- the books

    def write(self) -> None:
        """Writes what was planned."""
        self._tables.put_counts((name, self._counts[name]) for name in sorted(self._changed_counts))
        self._tables.put_calls(self._task.id, [self._calls[name] for name in self._changed_calls])
        for usage in self._usages.values():
            self._tables.set_usage(usage)
        for key in self._changed_paces:
            self._tables.put_pace(key, self._paces[key])

    def _usage(self, key: str) -> Usage:
        return self._usages.get(key) or self._tables.usage(key)

    def _put(self, call: Call, counted: Amount, reserved: Amount, calls: int = 0) -> None:
        """A call as it is now, and how much more is counted for it."""
        name = CallName(call.attempt, call.call)
        self._calls[name] = call
        self._changed_calls[name] = None
        names = self._names(call.model, call.at)
        missing = [name for name in names if name not in self._counts]
        if missing:
            found = self._tables.find_books(self._task.id, missing, (), ()).counts
            self._counts.update((name, found.get(name, Count())) for name in missing)
        for counter in names:
            known = self._counts[counter]
            self._counts[counter] = Count(known.counted + counted, known.reserved + reserved, known.calls + calls)
        self._changed_counts.update(names)

    def _names(self, model: str, at: Millis) -> list[CountName]:
        """What a call of this instant counts under."""
        windows = [window_of(period, at) for period in _PERIODS]
        names = self._named.get((model, windows[-1]))
        if names is None:
            names = self._named[model, windows[-1]] = []
            for scope in self._scopes(model):
                whole = CountName(scope, "")
                forever = whole.kind in ("task", "tree")
                names += [whole] if forever else [CountName(scope, window) for window in windows]
        return names

    def _scopes(self, model: str) -> list[str]:
        task = self._task
        named = (("owner", task.owner), ("agent", task.agent), ("model", model))
        return [
            *(f"task:{each}" for each in self._chain),
            f"tree:{task.root}",
            *(f"{kind}:{name}" for kind, name in named if name),
            TOTAL,
        ]


def abandon(tables: Tables, task: Task) -> Task:
    """The attempt that held `task` is over: its calls that are still reserved are unknown."""
    plan = Plan(tables, task)
    for call in tables.reserved_calls(task.id):
        plan.abandon(call)
    plan.write()
    return replace(task, open_calls=0)


def start_afresh(tables: Tables, key: str) -> None:
    """What was taken of a rate before it was dropped is not given back to the next one under its key, and whoever has
    waited waits for nothing."""
    pace = tables.find_books("", (), (), [key]).paces.get(key, Pace())
    tables.put_pace(key, Pace(pace.slow, pace.given + _NEVER))


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
