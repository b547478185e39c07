"""Lines of those who wait for room in a budget: who has waited longest goes first, and its room is kept for it.

A budget is busy for a call that has no room beside what calls under way have reserved, and would have room if they used
nothing. Its task has a place in the budget's line then. The room that it waits for is kept from those behind it, and
nothing else is: whoever fits in beside it goes ahead. When a call under way is settled, or given up, or somebody leaves
the line without having got room, those for whom there is room now are called, and those for whom there never will be,
so that they are told.

A place counts from the first refusal of its task, in whichever budget that was: the one who has waited longest goes
first in every line, so that no two wait for each other. It is good until shortly after the instant that its call was
told to come back at, and who was called has only a moment: a task that was cancelled meanwhile holds nobody up for
long.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenuto.stores.books import Count, Line, Place
from tenuto.tasks.clock import Millis
from tenuto.tasks.money import NOTHING, Amount, Budget

__all__ = ["GRACE", "PATIENCE", "called", "in_line", "joined", "kept", "since", "without"]

PATIENCE: Millis = 10_000
"""After so long a call that was not called asks by itself."""
GRACE: Millis = 5_000
"""For so long after that, and after it was called, its room is kept."""

_MOST = 64
"""Places in a line. Who finds none asks again after `PATIENCE`."""


def since(lines: Iterable[Line], task_id: str, now: Millis) -> Millis:
    """When a task began to wait in one of these lines; now where it does not."""
    return min((line[task_id].since for line in lines if task_id in line), default=now)


def kept(line: Line, task_id: str, waits_since: Millis, now: Millis) -> Amount:
    """The room that is kept for those who go before a task that has waited since then."""
    before = (waits_since, task_id)
    return sum((place.bound for name, place in in_line(line, now) if (place.since, name) < before), NOTHING)


def joined(line: Line, task_id: str, place: Place, now: Millis) -> Line:
    """The line with a place for a task, if there is one left."""
    alive = dict(in_line(line, now))
    if task_id in alive or len(alive) < _MOST:
        alive[task_id] = place
    return alive


def without(line: Line, task_id: str) -> Line:
    """The line that a task has left."""
    return {name: place for name, place in line.items() if name != task_id}


def called(line: Line, budget: Budget | None, count: Count, now: Millis) -> tuple[Line, list[str]]:
    """The line after those were called whose turn it is, and who they are. No `budget`: all."""
    after, ids, taken = dict(in_line(line, now)), [], count.counted
    for name, place in in_line(line, now):
        never = budget is not None and budget.short(count.spent, place.bound) is not None
        has_room = budget is None or budget.short(taken, place.bound) is None
        if not never:
            taken += place.bound
        if (has_room or never) and not place.called:
            ids.append(name)
            after[name] = Place(place.since, now + GRACE, place.bound, called=True)
    return after, ids


def in_line(line: Line, now: Millis) -> list[tuple[str, Place]]:
    """Whose places are good, in order."""
    alive = [each for each in line.items() if each[1].until >= now]
    return sorted(alive, key=lambda each: (each[1].since, each[0]))
