"""What a record takes of rates, and gives back: a part of the plan in `money`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from tenuto.stores.books import Pace, Taken
from tenuto.stores.rules import shares
from tenuto.stores.tables import Tables, Usage
from tenuto.tasks.clock import Millis
from tenuto.tasks.limits import Limit
from tenuto.tasks.money import Refusal, RefusalKind, Reserve

__all__ = ["Rates", "start_afresh"]

_NEVER = 1e10
"""Milliseconds: no rate is used up for longer than that."""

_SOON: Millis = 25
"""After so long it is worth another try, for who is refused for the sake of somebody else."""


_NEWEST = 0.125
"""How much the newest call says about what calls use."""


class Rates:
    """Units of rates, before it is certain that they may be taken."""

    def __init__(self, tables: Tables, owner: str, paces: Mapping[str, Pace]) -> None:
        self._tables = tables
        self._owner = owner
        self._now: Millis = tables.now
        self._stored = paces
        self._paces = dict(paces)
        self._changed: set[str] = set()
        self._usages: dict[str, Usage] = {}
        self.freed: set[str] = set()
        """limits that units were given back to"""

    def correct(self, taken: Taken, used: int) -> None:
        """Units beyond what was taken are taken now; of what was not used, as much is given back as is safe.

        It is safe while the arrival time that was left right after the call, less all that was given back since, lies
        ahead: then whatever came after it was added to it, and would have been added to the lesser one just so.
        """
        usage, pace = self._usage(taken.key), self._paces.get(taken.key, Pace())
        limit = usage.limit
        if limit is None or limit.interval != taken.interval:
            return
        if used and taken.units > 1 and pace.shares:
            pace = replace(pace, used=pace.used + (min(used / taken.units, 1.0) - pace.used) * _NEWEST)
            self._paces[taken.key] = pace
            self._changed.add(taken.key)
        if used > taken.units:
            tat = limit.taken(usage.tat, self._now, used - taken.units)
            self._usages[taken.key] = replace(usage, tat=tat)
            return
        ahead = taken.tat - (pace.given - taken.given) - self._now
        span = min((taken.units - used) * limit.interval, ahead)
        if span > 0:
            self._usages[taken.key] = replace(usage, tat=usage.tat - span)
            self._paces[taken.key] = replace(pace, given=pace.given + span)
            self._changed.add(taken.key)
            self.freed.add(taken.key)

    def refusal(self, reserve: Reserve) -> Refusal | None:
        """Why a reservation comes too fast."""
        for key, units in reserve.rates:
            slow, at, step = self._paces.get(key, Pace()).slow, self._now, float(_SOON)
            usage, stored = self._usage(key), self._stored.get(key, Pace())
            if usage.limit is not None and usage.limit.rate and units:
                at = self._when(key, usage.limit, usage.tat, units)
                step = units * usage.limit.interval * (stored.used if units > 1 else 1.0)
            if max(at, slow) > self._now:
                stored, place = shares.refused(stored, self._owner, self._now, max(at, slow), step)
                self._tables.put_pace(key, stored)
                kind = RefusalKind.SLOW if slow > self._now else RefusalKind.RATE
                return Refusal(reserve.call, key, kind, self._now, place)
        return None

    def _when(self, key: str, limit: Limit, tat: float, units: int) -> Millis:
        """When it is worth a try to take `units` of a rate: now, where there is room and nobody goes before."""
        at = limit.allowed_at(tat, units)
        first = shares.first_in_line(self._paces.get(key, Pace()), self._owner, self._now)
        if at > self._now or first is None:
            return at
        after = limit.allowed_at(limit.taken(tat, self._now, units), units)
        return min(first.until + 1, max(after, self._now + _SOON))

    def take(self, reserve: Reserve) -> tuple[Taken, ...]:
        """Plans that a granted reservation takes its units."""
        return tuple(each for key, units in reserve.rates if (each := self._take(key, units)) is not None)

    def _take(self, key: str, units: int) -> Taken | None:
        usage = self._usage(key)
        limit = usage.limit
        if limit is None or not limit.rate or not units:
            return None
        tat, pace = limit.taken(usage.tat, self._now, units), self._paces.get(key, Pace())
        self._usages[key] = replace(usage, tat=tat)
        if pace.shares:
            self._paces[key] = shares.granted(pace, self._owner, self._now, units)
            self._changed.add(key)
        return Taken(key, units, tat, limit.interval, pace.given)

    def write(self) -> None:
        """Writes what was planned."""
        for usage in self._usages.values():
            self._tables.set_usage(usage)
        for key in self._changed:
            self._tables.put_pace(key, self._paces[key])

    def _usage(self, key: str) -> Usage:
        return self._usages.get(key) or self._tables.usage(key)


def start_afresh(tables: Tables, key: str) -> None:
    """What was taken of a rate before it was dropped is not given back to the next one under its key, and whoever has
    waited waits for nothing."""
    pace = tables.find_books("", (), (), [key]).paces.get(key, Pace())
    tables.put_pace(key, Pace(pace.slow, pace.given + _NEVER))
