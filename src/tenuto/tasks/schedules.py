"""Schedules: rules that submit tasks at certain times.

A rule is a cron expression in a time zone, or an interval. The task fired for an instant has the id
`<schedule>@<instant in UTC>`: however many processes look at a schedule, an instant fires once.

What happens to instants that passed while nothing ran is the schedule's `catch_up`:
`latest` fires the last of them (the default), `all` fires each of them, `none` fires nothing.

Cron follows Vixie cron as Debian ships it, daylight saving included: wildcard jobs run once per hour of
real time, fixed-time jobs that fall into a gap run right after it, and those in a repeated hour run once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import LATEST, Millis, iso
from tenuto.tasks.ids import check_id
from tenuto.tasks.task import TaskSpec

__all__ = ["MOST_CAUGHT_UP", "CatchUp", "Schedule", "due_instants", "fired", "next_instant"]

MOST_CAUGHT_UP = 1_000
"""Instants that one look at a schedule fires at the most; the rest follow at the next look."""


class CatchUp(StrEnum):
    """What to do about instants that were missed."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A rule and the task that it submits."""

    name: str
    task: TaskSpec
    """the template; its id is not used"""
    cron: str | None = None
    """five fields"""
    zone: str = "UTC"
    """IANA time zone in which `cron` is read"""
    every: Millis | None = None
    """instead of `cron`: an interval, whole seconds in milliseconds, counted from `anchor`"""
    anchor: Millis = 0
    """a whole second: it becomes part of ids"""
    catch_up: CatchUp = CatchUp.LATEST
    paused: bool = False
    next_at: Millis | None = None
    """the next instant that has not been fired; kept by the store"""
    last_at: Millis | None = None
    """the last instant that was fired; kept by the store"""

    def check(self) -> Schedule:
        """Itself, or `InvalidInput` that says what is wrong with it."""
        check_id(self.name, "schedule name")
        if "@" in self.name:
            raise InvalidInput(f"schedule name {self.name!r} contains '@', which separates it from the instant")
        if (self.cron is None) == (self.every is None):
            raise InvalidInput(f"schedule {self.name!r} needs either a cron expression or an interval")
        if self.every is not None and (self.every < 1_000 or self.every % 1_000 or self.every > 3_155_760_000_000):
            raise InvalidInput(f"schedule {self.name!r}: an interval is a whole number of seconds, at least 1")
        if self.anchor % 1_000 or not 0 <= self.anchor <= LATEST:
            raise InvalidInput(f"schedule {self.name!r}: anchor must be a whole second between 1970 and 9999")
        if not self.task.agent:
            raise InvalidInput(f"schedule {self.name!r} names no agent")
        self.task.check()
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise InvalidInput(
                f"schedule {self.name!r}: {self.zone!r} is no known time zone; use an IANA name such as Europe/Berlin"
            ) from None
        if self.cron is not None:
            if len(self.cron.split()) != 5:
                raise InvalidInput(
                    f"schedule {self.name!r}: the cron expression {self.cron!r} needs five fields: "
                    "minute hour day month weekday"
                )
            try:
                first = next(CronSim(self.cron, datetime.now(ZoneInfo(self.zone))), None)
            except CronSimError as error:
                raise InvalidInput(f"schedule {self.name!r}: cron expression {self.cron!r}: {error}") from None
            if first is None:
                raise InvalidInput(f"schedule {self.name!r}: the cron expression {self.cron!r} never comes true")
        return self


def _instants(schedule: Schedule, after: Millis) -> Iterator[Millis]:
    if schedule.every is not None:
        step = schedule.every
        at = schedule.anchor + max(0, (after - schedule.anchor) // step + 1) * step
        while at <= LATEST:
            yield at
            at += step
        return
    assert schedule.cron is not None  # by `check`
    for moment in CronSim(schedule.cron, datetime.fromtimestamp(after / 1000, ZoneInfo(schedule.zone))):
        at = round(moment.astimezone(UTC).timestamp() * 1000)
        if at > after:
            yield at


def next_instant(schedule: Schedule, after: Millis) -> Millis | None:
    """The first instant of `schedule` later than `after`; None when there is none before the year 10000."""
    return next(_instants(schedule, after), None)


def due_instants(schedule: Schedule, now: Millis) -> tuple[list[Millis], Millis | None]:
    """What `schedule` fires at `now`, and its `next_at` afterwards.

    O(instants missed), and bounded by `MOST_CAUGHT_UP` where each of them is fired.
    """
    first = schedule.next_at
    if first is None or first > now or schedule.paused:
        return [], first
    if schedule.catch_up is CatchUp.ALL:
        due = [first]
        for at in _instants(schedule, first):
            if at > now or len(due) == MOST_CAUGHT_UP:
                return due, at
            due.append(at)
        return due, None
    if schedule.every is not None:
        latest = first + (now - first) // schedule.every * schedule.every
    else:
        latest = _latest(schedule, first, now)
    following = next_instant(schedule, latest)
    on_time = latest == first and now - first < 60_000
    fires = [latest] if schedule.catch_up is CatchUp.LATEST or on_time else []
    return fires, following


def _latest(schedule: Schedule, first: Millis, now: Millis) -> Millis:
    # Backwards from now in growing windows: a schedule missed for years costs no more than one missed for a day.
    window = 3_600_000
    while now - window > first:
        found = None
        for at in _instants(schedule, now - window):
            if at > now:
                break
            found = at
        if found is not None:
            return found
        window *= 8
    latest = first
    for at in _instants(schedule, first):
        if at > now:
            break
        latest = at
    return latest


def fired(schedule: Schedule, at: Millis) -> TaskSpec:
    """The task that `schedule` submits for the instant `at`."""
    return msgspec.structs.replace(
        schedule.task,
        id=f"{schedule.name}@{iso(at)}",
        run_at=None,
        idempotency_key=None,
        metadata={**schedule.task.metadata, "schedule": schedule.name, "instant": iso(at)},
    )
