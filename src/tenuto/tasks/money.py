"""What calls cost, what may be spent, and what was: money, tokens and requests.

A *call* is one paid request that a task makes: to a model, for example. It is counted in two steps, so that a crash in
between is never free of charge:

    Reserve  ── before the call is sent: its most (the *bound*) is set aside, if every budget and every rate has room
    Settle   ── after it: what it really used takes the place of the bound

Both travel in a `Record`, and commit with the journal entries they belong to. A reservation is `reserved` while the
attempt that made it is held. When that ends without a settlement (the worker was killed, the lease was lost, the
attempt was given up), it becomes `unknown`: nobody knows whether the provider was paid, so it stays counted at its
bound, until somebody who does know settles it (`Store.settle`). A call that certainly was not sent is settled with
nothing.

**Repeats.** A call is known by task, attempt and name, and is reserved once. The same reservation again, while it is
`reserved`, is a repeat after a lost answer: it is granted, room or not, and counted no second time. Any other one under
that name would be money that nobody counts, and its record is INVALID: where the call is settled, whoever has settled
it; is reserved with another bound, model or units of a rate; or is settled, or reserved twice, by that very record. The
next attempt repeats nothing: what it reserves is a call of its own, counted beside that of the attempt before. The
first settlement of a call stands; a later one changes nothing. What was not reserved is counted as a record settles it;
a settlement for an attempt that has not begun is INVALID.

**Scopes.** Each call counts against all of these, which the store finds by itself, so that none can be forgotten:

    task:<id>       the task, and each task above it: what is below a task counts against it
    tree:<root>     all of a tree: for a root the same as `task:<root>`
    owner:<owner>   agent:<agent>   model:<model>      where the task has an owner, and the call a model
    total           everything

Of the last two lines there are also counts for each UTC day and month (of the reservation). Counts of tasks and trees
leave with their tree; the others stay.

**Budgets.** A `Budget` limits one scope, for good or per UTC day or month. A reservation needs room in every budget of
its scopes: `spent + reserved + bound <= limit`, exactly. Money is whole nano-dollars, so that sums are exact on every
engine up to nine million dollars. What a settlement adds beyond its bound is counted, also past a limit.

A budget is at its limit for a call when `spent + bound > limit`. Where the call only has no room beside what others
have reserved, which they will not all use, it is told to wait (`RefusalKind.BUSY`). It has a place in the budget's line
then: the room that it needs is kept from those who come later, and its task, if it waits in the store, is woken when
there is enough, or when it is certain that there never will be.

**Rates.** A reservation may also need units of limits with a rate (`tasks.limits`; tokens per minute, for example). A
call that needs more than the limit's `burst` is granted when nothing is owed, and what comes after it waits the longer.
At settlement unused units are given back as far as that is certain to keep the rate: as if fewer had been taken then.
Each call that is refused is told an instant of its own, at which there will be room for it when those that wait already
have come and used what calls do use: the rate is used to the full, and nobody comes in vain because all come at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import Millis
from tenuto.tasks.ids import check_name

__all__ = [
    "DOLLAR",
    "LARGEST_AMOUNT",
    "NOTHING",
    "TOTAL",
    "Amount",
    "AtLimit",
    "Budget",
    "Period",
    "Refusal",
    "RefusalKind",
    "Reserve",
    "Settle",
    "next_window",
    "window_of",
]

DOLLAR = 1_000_000_000
"""Nano-dollars in one US dollar: the unit of all money here."""

LARGEST_AMOUNT = 9_000_000_000_000_000
"""Whole numbers up to here are exact in every engine: nine million dollars."""

TOTAL = "total"
"""The scope of everything."""

_DAY: Millis = 86_400_000
_KINDS = ("task", "tree", "owner", "agent", "model")
_WITHOUT_PERIOD = ("task", "tree")


class Amount(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a call uses, or may use."""

    money: int = 0
    """nano-dollars"""
    tokens: int = 0
    requests: int = 0

    def check(self, what: str) -> Amount:
        """Itself, or `InvalidInput` that names `what`."""
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if not _whole(value):
                raise InvalidInput(
                    f"{what}: {field} must be a whole number from 0 to {LARGEST_AMOUNT:,}, not {value!r}"
                )
        return self

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.money + other.money, self.tokens + other.tokens, self.requests + other.requests)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.money - other.money, self.tokens - other.tokens, self.requests - other.requests)


NOTHING = Amount()


class AtLimit(StrEnum):
    """What the caller is asked to do where a budget has no room; the store only passes it on."""

    FAIL = "fail"
    PAUSE = "pause"
    """for a person, who may raise the budget"""
    FALLBACK = "fallback"
    """to a cheaper model"""


class Period(StrEnum):
    """How long a budget's window is, in UTC."""

    DAY = "day"
    MONTH = "month"


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """The most that may be used in one scope. A field that is None limits nothing."""

    scope: str = ""
    """see the module; empty only in a `TaskSpec`, where it is the task itself, with all that is below it"""
    money: int | None = None
    """nano-dollars"""
    tokens: int | None = None
    requests: int | None = None
    period: Period | None = None
    """None: for good; else for each UTC day or month, of owners, agents, models and the total"""
    at_limit: AtLimit = AtLimit.FAIL

    def check(self) -> Budget:
        """Itself, or `InvalidInput` that names what makes no sense."""
        kind, _, name = self.scope.partition(":")
        if self.scope != TOTAL and (kind not in _KINDS or not name):
            known = ", ".join(f"{each}:<name>" for each in _KINDS)
            raise InvalidInput(f"a budget's scope is one of {known} or {TOTAL!r}, not {self.scope!r}")
        if self.scope != TOTAL:
            check_name(name, f"the scope {kind!r} of a budget")
        if self.period is not None and kind in _WITHOUT_PERIOD:
            raise InvalidInput(f"budget {self.scope!r}: a task has no budget per {self.period}: leave the period out")
        return self._check_limits(f"budget {self.scope!r}")

    def check_own(self, task_id: str) -> None:
        """Raises `InvalidInput` where this cannot be the budget of a task itself."""
        if self.scope or self.period is not None:
            raise InvalidInput(
                f"task {task_id!r}: its budget has neither scope nor period: it is about the task itself"
            )
        self._check_limits(f"the budget of task {task_id!r}")

    def _check_limits(self, what: str) -> Budget:
        limits = {"money": self.money, "tokens": self.tokens, "requests": self.requests}
        given = {field: limit for field, limit in limits.items() if limit is not None}
        if not given:
            raise InvalidInput(f"{what} limits nothing: give money, tokens or requests")
        for field, limit in given.items():
            if not _whole(limit):
                raise InvalidInput(
                    f"{what}: {field} must be a whole number from 0 to {LARGEST_AMOUNT:,}, not {limit!r}"
                )
        return self

    def short(self, used: Amount, bound: Amount) -> tuple[str, int] | None:
        """The field without room for `bound` where `used` is used or reserved already, and what is left of it."""
        for field in Amount.__struct_fields__:
            limit, taken, wanted = getattr(self, field), getattr(used, field), getattr(bound, field)
            if limit is not None and wanted and taken + wanted > limit:
                return field, max(limit - taken, 0)
        return None


class Reserve(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sets the most that a call may use aside. Granted whole or not at all, and once."""

    call: str
    """names the call within the attempt: the key of its step, for example. A second call has a name of its own"""
    bound: Amount
    """the most that it can use"""
    model: str = ""
    """for the scope `model:<model>`; empty: none"""
    rates: tuple[tuple[str, int], ...] = ()
    """keys of limits with a rate, and the units of each that it takes; a key without a definition limits nothing"""
    unpriced: bool = False
    """nobody knows what it costs: no budget in money has room for it"""

    def check(self) -> None:
        """Raises `InvalidInput` that names what makes no sense."""
        check_name(self.call, "the name of a call")
        self.bound.check(f"the bound of call {self.call!r}")
        _check_labels(self.call, self.model, self.rates)


class Settle(msgspec.Struct, frozen=True, omit_defaults=True):
    """Says what a call has really used. The first settlement of a call stands."""

    call: str
    actual: Amount = NOTHING
    """may exceed the bound; nothing: the call was certainly not sent"""
    rates: tuple[tuple[str, int], ...] = ()
    """units really used of the rates that the reservation named; of a key that is left out, all that was reserved"""
    attempt: int = 0
    """whose reservation it is, this or an earlier one's; 0: of the attempt that holds the task"""
    model: str = ""
    """of a call that was not reserved: it is counted as it is settled; of another, the books are read at once"""

    def check(self) -> None:
        """Raises `InvalidInput` that names what makes no sense."""
        check_name(self.call, "the name of a call")
        self.actual.check(f"what call {self.call!r} has used")
        if not _whole(self.attempt):
            raise InvalidInput(f"call {self.call!r}: the attempt must be a whole number, not {self.attempt!r}")
        _check_labels(self.call, self.model, self.rates)


class RefusalKind(StrEnum):
    """What has no room."""

    BUDGET = "budget"
    """it is spent, as far as this call is concerned"""
    BUSY = "busy"
    """a budget: what is left of it is reserved by calls under way"""
    RATE = "rate"
    SLOW = "slow"
    """the key was slowed down (`Store.slow`)"""


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a reservation was not granted."""

    call: str
    key: str
    """the scope of the budget, or the key of the rate"""
    kind: RefusalKind
    now: Millis
    """the engine's clock"""
    retry_at: Millis | None = None
    """the first instant at which it is worth another try; None: time alone never makes room. Of RATE and SLOW, behind
    the owner's other calls that wait. Of BUSY, the last: until then the call keeps its place in the line of the budget,
    and may be called"""
    short: str = ""
    """of a budget: what there is too little of, "money", "tokens" or "requests"; or "price": it is in money, and what
    the call costs is not known"""
    left: int = 0
    """how much of that is left"""
    period: Period | None = None
    """of a budget"""
    at_limit: AtLimit = AtLimit.FAIL
    """of a budget"""


def window_of(period: Period | None, at: Millis) -> str:
    """The UTC day (`2026-11-21`) or month (`2026-11`) in which `at` lies; empty without a period."""
    return "" if period is None else _window(period, at // _DAY)


@lru_cache(maxsize=64)
def _window(period: Period, day: int) -> str:
    date = datetime.fromtimestamp(day * _DAY // 1000, UTC)
    return date.strftime("%Y-%m-%d" if period is Period.DAY else "%Y-%m")


def next_window(period: Period | None, at: Millis) -> Millis | None:
    """When the window after that of `at` begins; None without a period."""
    if period is None:
        return None
    day = datetime.fromtimestamp(at // 1000, UTC).replace(hour=0, minute=0, second=0)
    if period is Period.MONTH:
        day = day.replace(day=28) + timedelta(days=4)
        day = day.replace(day=1) - timedelta(days=1)
    return int((day + timedelta(days=1)).timestamp()) * 1000


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= LARGEST_AMOUNT


def _check_labels(call: str, model: str, rates: tuple[tuple[str, int], ...]) -> None:
    if model:
        check_name(model, f"call {call!r}: model")
    for key, units in rates:
        check_name(key, f"call {call!r}: rate")
        if not _whole(units):
            raise InvalidInput(f"call {call!r}: units of {key!r} must be a whole number of at least 0, not {units!r}")
    if len({key for key, _ in rates}) < len(rates):
        raise InvalidInput(f"call {call!r} names a rate twice")
