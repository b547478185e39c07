"""Shares of owners in a rate: whoever has got the least goes next, however many callers another one has.

Start-time fair queueing (Goyal, Vin, Cheng, 1996), over refusals instead of a queue. An owner whose call was refused
for want of room is waiting: until shortly after the next instant that one of its calls was told, the next room is kept
for the waiting owner with the smallest tag, and others with larger tags are refused. A grant advances the owner's tag
by its units. A waiting call that does not come back loses its right by itself, so nothing stands still for longer than
`GRACE`. Once nobody waits all is forgotten: a rate that is not contended costs nothing.

Calls of one owner do not come back together. Each is told an instant of its own: the first at which the rate will have
room when all that were told earlier ones have come. A call that finds a gap there, since another one was late or does
not come at all, is told the gap, so that no room is left that nobody comes for. How long a call keeps the rate busy is
reckoned by what calls really use (`Pace.used`): what they reserve beyond that, they give back. Lines of several owners
are told the same instants: a share of the room that one of them does not take is at once another's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from tenuto.stores.books import Pace, Share, Told
from tenuto.tasks.clock import Millis

__all__ = ["GRACE", "first_in_line", "granted", "refused"]

GRACE: Millis = 250
"""How long after its instant a call that was refused has the first right."""

_MOST = 64
"""Owners in one line; the others compete without a place in it."""

_PARTS = 64
"""Parts of one owner's line, of calls that are equally large and come one after the other; whoever is behind them
counts as one of the last."""


def first_in_line(pace: Pace, owner: str, now: Millis) -> Share | None:
    """The share of the one who goes before `owner`; None where nobody does."""
    waiting = [share for name, share in pace.shares.items() if share.until >= now and name != owner]
    first = min(waiting, default=None)
    return first if first is not None and first.tag < _tag(pace, owner) else None


def refused(pace: Pace, owner: str, now: Millis, at: Millis, step: float) -> tuple[Pace, Millis]:
    """A call of `owner` waits; when it is told to come back.

    at: when it were worth a try if nobody else waited. step: for how many milliseconds the rate is busy with it.
    """
    shares = _alive(pace, now)
    known = shares.get(owner)
    if known is None and len(shares) >= _MOST:
        return replace(pace, shares=shares), at
    line, free = _joined([] if known is None else _ahead(known.line, now), at, step)
    until = max(math.ceil(line[0].at) + GRACE, known.until if known is not None else 0)
    shares[owner] = Share(_tag(pace, owner), until, tuple(line))
    return replace(pace, shares=shares), math.ceil(free)


def _joined(line: list[Told], at: Millis, step: float) -> tuple[list[Told], float]:
    """The line with one more call, and the first instant from `at` on at which nobody in it keeps the rate busy."""
    free, place = float(at), 0
    for each in line:
        if each.at >= free + 1:
            break
        free += each.calls * each.step
        place += 1
    before, after = line[place - 1] if place else None, line[place] if place < len(line) else None
    if before is not None and before.step == step and free < before.at + (before.calls + 1) * step:
        line[place - 1] = before._replace(calls=before.calls + 1)
    elif after is not None and after.step == step and step - 1 <= after.at - free < 2 * step:
        line[place] = Told(after.at - step, step, after.calls + 1)
    elif len(line) < _PARTS:
        line.insert(place, Told(free, step, 1))
    elif before is not None and after is None:
        free = max(free, before.at + before.calls * before.step)
        line[-1] = before._replace(calls=before.calls + 1)
    return line, free


def _ahead(line: Sequence[Told], now: Millis) -> list[Told]:
    """Those who have not come yet."""
    ahead = []
    for at, step, calls in line:
        gone = 0 if at > now else min(calls, math.floor((now - at) / step) + 1)
        if gone < calls:
            ahead.append(Told(at + gone * step, step, calls - gone))
    return ahead


def granted(pace: Pace, owner: str, now: Millis, units: int) -> Pace:
    """A call of `owner` has got `units`."""
    shares = _alive(pace, now)
    tag = _tag(pace, owner)
    if owner in shares or len(shares) < _MOST:
        shares[owner] = Share(tag + units, 0, shares[owner].line if owner in shares else ())
    if not any(_waits(share, now) for share in shares.values()):
        return Pace(pace.slow, pace.given)
    return replace(pace, virtual=max(pace.virtual, tag), shares=shares)


def _tag(pace: Pace, owner: str) -> float:
    known = pace.shares.get(owner)
    return pace.virtual if known is None else max(known.tag, pace.virtual)


def _alive(pace: Pace, now: Millis) -> dict[str, Share]:
    """Who waits, or is ahead of those who do."""
    return {name: share for name, share in pace.shares.items() if _waits(share, now) or share.tag > pace.virtual}


def _waits(share: Share, now: Millis) -> bool:
    return share.until >= now or bool(_ahead(share.line, now))
