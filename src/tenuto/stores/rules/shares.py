"""Shares of owners in a rate: whoever has got the least goes next, however many callers another one has.

Start-time fair queueing (Goyal, Vin, Cheng, 1996), over refusals instead of a queue. An owner whose call was refused
for want of room is waiting: until shortly after the instant that it was told, the next room is kept for the waiting
owner with the smallest tag, and others with larger tags are refused. A grant advances the owner's tag by its units. A
waiting call that does not come back loses its right by itself, so nothing stands still for longer than `GRACE`. Once
nobody waits all is forgotten: a rate that is not contended costs nothing.
"""

from __future__ import annotations

from msgspec.structs import replace

from tenuto.stores.books import Pace, Share
from tenuto.tasks.clock import Millis

__all__ = ["GRACE", "first_in_line", "granted", "refused"]

GRACE: Millis = 250
"""How long after its instant a call that was refused has the first right."""

_MOST = 64
"""Owners in one line; the others compete without a place in it."""


def first_in_line(pace: Pace, owner: str, now: Millis) -> Share | None:
    """The share of the one who goes before `owner`; None where nobody does."""
    waiting = [share for name, share in pace.shares.items() if share.until >= now and name != owner]
    first = min(waiting, default=None)
    return first if first is not None and first.tag < _tag(pace, owner) else None


def refused(pace: Pace, owner: str, now: Millis, retry_at: Millis) -> Pace:
    """A call of `owner` waits, and was told to come back at `retry_at`."""
    shares = _alive(pace, now)
    known = shares.get(owner)
    if known is not None or len(shares) < _MOST:
        until = max(retry_at + GRACE, known.until if known is not None else 0)
        shares[owner] = Share(_tag(pace, owner), until)
    return replace(pace, shares=shares)


def granted(pace: Pace, owner: str, now: Millis, units: int) -> Pace:
    """A call of `owner` has got `units`."""
    shares = _alive(pace, now)
    tag = _tag(pace, owner)
    if owner in shares or len(shares) < _MOST:
        shares[owner] = Share(tag + units, 0)
    if all(share.until < now for share in shares.values()):
        return replace(pace, virtual=0.0, shares={})
    return replace(pace, virtual=max(pace.virtual, tag), shares=shares)


def _tag(pace: Pace, owner: str) -> float:
    known = pace.shares.get(owner)
    return pace.virtual if known is None else max(known.tag, pace.virtual)


def _alive(pace: Pace, now: Millis) -> dict[str, Share]:
    """Who waits, or is ahead of those who do."""
    return {name: share for name, share in pace.shares.items() if share.until >= now or share.tag > pace.virtual}
