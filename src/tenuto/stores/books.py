"""What an engine keeps of money: the part of `tables.Tables` that `rules.money` works on. See `stores.money`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from tenuto.tasks.clock import Millis
from tenuto.tasks.money import NOTHING, Amount, Budget, Period
from tenuto.tasks.usage import LedgerEntry, UsageBy, UsageRow

__all__ = [
    "Books",
    "Call",
    "CallName",
    "Count",
    "CountName",
    "Found",
    "Line",
    "Pace",
    "Place",
    "Purse",
    "Share",
    "Taken",
    "Told",
]


class Taken(NamedTuple):
    """Units of a rate that a call has taken."""

    key: str
    units: int
    tat: float
    """the theoretical arrival time right after that"""
    interval: float
    """milliseconds for each unit then"""
    given: float
    """`Pace.given` then"""


class Told(NamedTuple):
    """Calls that wait for a rate, and were told to come back one after the other."""

    at: float
    """when the first of them does"""
    step: float
    """milliseconds for which the rate will be busy with each"""
    calls: int


class Share(NamedTuple):
    """How much an owner has got of a rate, among those who wait for it."""

    tag: float
    """where it stands: units that it has got, from the virtual time at which it joined"""
    until: Millis
    """one of its calls waits, and has the first right to the next room until then"""
    line: tuple[Told, ...] = ()
    """of those of its calls that wait, the next one first"""


class Pace(msgspec.Struct, frozen=True, array_like=True):
    """What is known about a rate's key beside its limit."""

    slow: Millis = 0
    """nothing is granted before"""
    given: float = 0.0
    """milliseconds of its rate that were given back so far"""
    virtual: float = 0.0
    """the tag at which an owner joins"""
    shares: dict[str, Share] = {}
    """by owner, while some wait"""
    used: float = 0.05
    """what part of their units calls have used since some wait, of those that took more than one. Little, as long as
    nobody knows: who is told to come too early is told again; room that all are told to come too late for is lost"""


class Place(NamedTuple):
    """The place of a task that waits for room in a budget."""

    since: Millis
    """the earlier, the sooner it gets room"""
    until: Millis
    """the room that it needs is kept for so long"""
    bound: Amount
    """that room"""
    called: bool = False
    """there is room now, or never will be"""


Line = Mapping[str, Place]
"""Who waits for room in a budget, by the task's id."""


class Purse(NamedTuple):
    """A budget, and who waits for room in it."""

    budget: Budget
    line: Line


class Call(LedgerEntry, frozen=True, omit_defaults=True):
    """A call as it is stored."""

    taken: tuple[Taken, ...] = ()


class CallName(NamedTuple):
    """Which call of a task."""

    attempt: int
    call: str


class CountName(NamedTuple):
    """What is counted."""

    scope: str
    window: str
    """a day, a month, or empty: all time"""

    @property
    def kind(self) -> str:
        """The first part of the scope."""
        return self.scope.partition(":")[0]


class Count(msgspec.Struct, frozen=True):
    """What was counted under one name."""

    counted: Amount = NOTHING
    """reserved, unknown and settled"""
    reserved: Amount = NOTHING
    """the part that is reserved"""
    calls: int = 0

    @property
    def spent(self) -> Amount:
        """The part that is not reserved."""
        return self.counted - self.reserved

    def __add__(self, other: Count) -> Count:
        return Count(self.counted + other.counted, self.reserved + other.reserved, self.calls + other.calls)


class Found(NamedTuple):
    """What a record is about to look at; what is not there is left out."""

    purses: list[Purse]
    calls: dict[CallName, Call]
    paces: dict[str, Pace]


class Books(Protocol):
    """The books of one store, inside one transaction."""

    def find_books(self, task_id: str, scopes: Sequence[str], calls: Sequence[CallName], keys: Sequence[str]) -> Found:
        """The budgets of `scopes` with their lines, calls of a task, and the paces of `keys`."""

    def counted(self, names: Sequence[CountName]) -> dict[CountName, Count]:
        """What was counted under these names; what is not there is left out."""

    def add_counts(self, counts: Mapping[CountName, Count]) -> None:
        """Counts so much more."""

    def put_calls(self, task_id: str, calls: Iterable[Call]) -> None:
        """Appends to a ledger, or replaces those with the same name in their places."""

    def calls(self, task_id: str) -> list[Call]:
        """A ledger, in the order in which its calls were first stored."""

    def reserved_calls(self, task_id: str) -> list[Call]:
        """Those of `calls` that are reserved."""

    def put_budget(self, budget: Budget) -> None:
        """Creates or replaces the one of its scope and period. Its line stays."""

    def put_line(self, budget: Budget, line: Line) -> None:
        """Stores who waits for room in it."""

    def drop_budget(self, scope: str, period: Period | None) -> bool:
        """False when there is none."""

    def budgets(self, prefix: str, limit: int) -> list[Budget]:
        """Those whose scope begins with `prefix`, by scope and period (none first)."""

    def put_pace(self, key: str, pace: Pace) -> None:
        """Stores it."""

    def totals(self, by: UsageBy, prefix: str, since: str, until: str, limit: int) -> list[UsageRow]:
        """A row for each key of this kind that begins with `prefix`, by key: of the days `since` to `until`; of all
        time where both are empty."""

    def totals_by_day(self, of: str, prefix: str, since: str, until: str, limit: int) -> list[UsageRow]:
        """A row for each day of one scope, from `since` to `until`, by day."""
