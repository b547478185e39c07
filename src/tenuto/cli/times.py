"""Times for people: how long ago, in how long, how long it took. Pure functions of values."""

from __future__ import annotations

from itertools import pairwise

from tenuto.tasks.clock import Millis

__all__ = ["relative", "span"]

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000))


def span(length: Millis) -> str:
    """A length of time in its largest unit, with a second one below ten: `850 ms`, `4.2 s`, `3 min 20 s`, `5 d`."""
    length = max(length, 0)
    if length < 1_000:
        return f"{length} ms"
    if length < 10_000:
        return f"{length // 100 / 10} s"
    if length < 60_000:
        return f"{length // 1_000} s"
    for (unit, size), (lower, part) in pairwise(_UNITS):
        if length >= size:
            whole, rest = divmod(length, size)
            small = rest // part
            return f"{whole} {unit} {small} {lower}" if whole < 10 and small else f"{whole} {unit}"
    return f"{length // 1_000} s"


def relative(at: Millis | None, now: Millis) -> str:
    """An instant as seen from `now`: `3 min ago`, `in 5 s`, `now`; empty for None."""
    if at is None:
        return ""
    away = at - now
    if abs(away) < 1_000:
        return "now"
    text = _rough(abs(away))
    return f"in {text}" if away > 0 else f"{text} ago"


def _rough(length: Millis) -> str:
    for unit, size in _UNITS:
        if length >= size:
            return f"{length // size} {unit}"
    return "1 s"
