"""What is told of money, tokens and requests that were used: ledgers of calls, use of budgets, totals. See `money`."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tenuto.tasks.clock import Millis
from tenuto.tasks.money import Amount, Budget

__all__ = ["BudgetUse", "CallState", "LedgerEntry", "UsageBy", "UsageRow"]


class CallState(StrEnum):
    """What is known about a call."""

    RESERVED = "reserved"
    """it may be under way"""
    SETTLED = "settled"
    UNKNOWN = "unknown"
    """the attempt ended before it was settled: counted at its bound"""


class LedgerEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of a task."""

    call: str
    attempt: int
    state: CallState
    bound: Amount
    at: Millis
    """when it was reserved"""
    actual: Amount | None = None
    """SETTLED: what it used"""
    model: str = ""
    settled_at: Millis | None = None

    @property
    def counted(self) -> Amount:
        """What it counts as."""
        return self.bound if self.actual is None else self.actual


class BudgetUse(msgspec.Struct, frozen=True):
    """A budget and how much of it is used."""

    budget: Budget
    spent: Amount
    """settled, and unknown at its bound"""
    reserved: Amount
    """by calls that may be under way"""
    window: str = ""
    """the UTC day or month that is counted now; empty: all time"""


class UsageBy(StrEnum):
    """What a table of usage has a row for."""

    TASK = "task"
    TREE = "tree"
    OWNER = "owner"
    AGENT = "agent"
    MODEL = "model"
    DAY = "day"


class UsageRow(msgspec.Struct, frozen=True):
    """What was used under one key."""

    key: str
    """without its kind: an id, a name, or a day"""
    spent: Amount
    """settled, and unknown at its bound"""
    reserved: Amount
    """by calls that may be under way"""
    calls: int
    """how many, those under way included"""
