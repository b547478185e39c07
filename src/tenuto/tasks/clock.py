"""Time as the engine counts it: whole milliseconds since 1970 in UTC (`Millis`).

Whole numbers compare equal on every engine and survive JSON, Lua and SQL unchanged.
People give seconds, `timedelta` or `datetime`; the functions here turn those into millis
at the door, and back into text for people.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from tenuto.errors import InvalidInput

__all__ = ["LATEST", "Millis", "duration", "instant", "iso", "wall_clock"]

Millis: TypeAlias = int
"""Milliseconds: since the Unix epoch for an instant, a plain count for a duration."""

LATEST: Millis = 253_402_300_799_000
"""9999-12-31T23:59:59Z: no instant may lie after it."""


def wall_clock() -> Millis:
    """Now, by this machine's clock."""
    return time.time_ns() // 1_000_000


def duration(value: float | timedelta, field: str) -> Millis:
    """A length of time, given in seconds or as a `timedelta`, in milliseconds.

    Raises `InvalidInput`, naming `field`, when it is negative, not finite or longer than 100 years.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise InvalidInput(f"{field} must be a number of seconds or a timedelta, not {type(value).__name__}")
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not math.isfinite(seconds) or seconds < 0 or seconds > 3_155_760_000:
        raise InvalidInput(f"{field} must be between 0 seconds and 100 years, not {value!r}")
    return math.ceil(seconds * 1000)


def instant(value: float | datetime, field: str) -> Millis:
    """A point in time, given as an aware `datetime` or Unix seconds, in milliseconds since the epoch.

    Raises `InvalidInput`, naming `field`, for a naive datetime or a time outside 1970 to 9999.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | datetime):
        raise InvalidInput(f"{field} must be an aware datetime or Unix seconds, not {type(value).__name__}")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise InvalidInput(f"{field} has no time zone: give an aware datetime, such as datetime.now(UTC)")
    seconds = value.timestamp() if isinstance(value, datetime) else float(value)
    if not math.isfinite(seconds) or seconds < 0 or seconds * 1000 > LATEST:
        raise InvalidInput(f"{field} must lie between 1970 and 9999, not {value!r}")
    return round(seconds * 1000)


def iso(at: Millis) -> str:
    """`at` as ISO 8601 in UTC: whole seconds where they are whole, else milliseconds."""
    moment = datetime.fromtimestamp(at // 1000, UTC).replace(microsecond=at % 1000 * 1000)
    spec = "seconds" if at % 1000 == 0 else "milliseconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")
