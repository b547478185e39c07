"""When a failed attempt is tried again, and after how long.

The delay before the n-th retry is exponential back-off with equal jitter: half of
`base * factor ** (n - 1)` (at most `longest`) is certain, the other half is spread, so that tasks
that failed together do not come back together. (AWS Architecture Blog, "Exponential Backoff And
Jitter", 2015.) The spread comes from the task's id and attempt, not from a random source: a decision
is a function of values, and the same in every process.
"""

from __future__ import annotations

import zlib
from enum import StrEnum

import msgspec

from tenuto.errors import InvalidInput, NeedsSql
from tenuto.tasks.clock import Millis

__all__ = ["RetryPolicy", "Verdict"]


class Verdict(StrEnum):
    """What an exception means for the task."""

    RETRY = "retry"
    """counts as a failure, and is tried again while retries are left"""
    FATAL = "fatal"
    """fails the task at once"""
    EXCUSED = "excused"
    """not the task's fault (a full disk, a service that says "later"): tried again without counting"""


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How often and how patiently a task is retried.

    Exceptions are named by class: `"ValueError"`, or in full `"package.module.Error"`. A class matches
    for its subclasses too. `fatal` is looked at first, then `excused`; everything else is retried, unless
    `only` is given: then whatever it does not name is fatal.
    """

    max_retries: int = 5
    """retries after the first attempt; 0 means one attempt"""
    base: Millis = 1_000
    """delay before the first retry, milliseconds"""
    factor: float = 2.0
    """each further delay is this many times longer"""
    longest: Millis = 300_000
    """no delay is longer, milliseconds"""
    jitter: float = 0.5
    """the part of a delay that is spread, 0 to 1"""
    fatal: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def check(self) -> RetryPolicy:
        """Itself, or `InvalidInput` that names the field that makes no sense."""
        if not 0 <= self.max_retries <= 1_000_000:
            raise InvalidInput(f"max_retries must be between 0 and 1,000,000, not {self.max_retries}")
        if not 0 <= self.base <= self.longest:
            raise InvalidInput(f"retry base must lie between 0 and longest ({self.longest} ms), not {self.base}")
        if not 1.0 <= self.factor <= 1000.0:
            raise InvalidInput(f"retry factor must be between 1 and 1000, not {self.factor}")
        if not 0.0 <= self.jitter <= 1.0:
            raise InvalidInput(f"retry jitter must be between 0 and 1, not {self.jitter}")
        return self

    def verdict(self, error: BaseException) -> Verdict:
        """What `error` means under this policy; what can never work is fatal whatever that says."""
        if isinstance(error, NeedsSql):
            return Verdict.FATAL
        names = {name for cls in type(error).__mro__ for name in (cls.__name__, f"{cls.__module__}.{cls.__qualname__}")}
        if not names.isdisjoint(self.fatal):
            return Verdict.FATAL
        if not names.isdisjoint(self.excused):
            return Verdict.EXCUSED
        if self.only and names.isdisjoint(self.only):
            return Verdict.FATAL
        return Verdict.RETRY

    def delay(self, task_id: str, attempt: int, failures: int) -> Millis:
        """Milliseconds to wait before the next attempt, after the `failures`-th failure in a row (from 1)."""
        exponent = min(max(failures, 1) - 1, 64)
        full = min(float(self.longest), self.base * self.factor**exponent)
        spread = zlib.crc32(f"{task_id}\x1f{attempt}".encode()) / 0xFFFF_FFFF
        return round(full * (1.0 - self.jitter) + full * self.jitter * spread)
