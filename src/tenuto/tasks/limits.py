"""Limits that tasks share by key: how many at once, and how many per time.

Concurrency: a running task holds one slot of each of its keys, a waiting one none.

Rate: the generic cell rate algorithm (GCRA; ITU-T I.371). One number per key, the *theoretical arrival
time*: the next claim is allowed once `now >= tat - tolerance`. With the default burst of 1 claims are
spread evenly, and no window of `period` ever holds more than `rate`: there is no double window.
"""

from __future__ import annotations

import math

import msgspec

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import Millis
from tenuto.tasks.ids import check_name

__all__ = ["Limit"]

_PLENTY = 1_000_000_000


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is allowed for all tasks that name `key`."""

    key: str
    concurrency: int | None = None
    """tasks running at once; None: no limit"""
    rate: int | None = None
    """claims, or units of calls (`tasks.money`), per `period`; None: no limit"""
    period: Millis = 1_000
    """milliseconds"""
    burst: int = 1
    """claims that may follow each other at once after a quiet time; a call of more units takes a quiet time as well,
    and whatever comes after it waits for longer"""

    def check(self) -> Limit:
        """Itself, or `InvalidInput` that names what makes no sense."""
        check_name(self.key, "limit key")
        for field, value, most in (
            ("concurrency", self.concurrency, 1_000_000),
            ("rate", self.rate, 1_000_000_000),
            ("burst", self.burst, 1_000_000_000),
        ):
            if (value is not None or field == "burst") and not (type(value) is int and 1 <= value <= most):
                raise InvalidInput(
                    f"limit {self.key!r}: {field} must be a whole number from 1 to {most:,}, not {value!r}"
                )
        if not 1 <= self.period <= 31_557_600_000:
            raise InvalidInput(f"limit {self.key!r}: period must be 1 ms to one year, not {self.period} ms")
        return self

    @property
    def interval(self) -> float:
        """Milliseconds between two claims at the full rate."""
        return self.period / self.rate if self.rate else 0.0

    def allowed_at(self, tat: float, units: int = 1) -> Millis:
        """The first instant at which `units` are allowed together, given the theoretical arrival time. More than
        `burst` of them are allowed where all is paid for: they are owed afterwards."""
        return math.ceil(tat - max(self.burst - units, 0) * self.interval) if self.rate else 0

    def room(self, used: int, tat: float, now: Millis) -> int:
        """How many tasks may be claimed at `now` while `used` slots are held."""
        slots = _PLENTY if self.concurrency is None else max(self.concurrency - used, 0)
        if not self.rate or slots == 0:
            return slots
        spare = now - (tat - (self.burst - 1) * self.interval)
        return min(slots, self.burst, math.floor(spare / self.interval) + 1) if spare >= 0 else 0

    def taken(self, tat: float, now: Millis, units: int = 1) -> float:
        """The theoretical arrival time after `units` were taken at `now`."""
        return max(tat, float(now)) + units * self.interval if self.rate else tat
