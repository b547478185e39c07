"""What time brings: schedules, sweeps and purges, in scripts of a few milliseconds each.

Timers ring inside the server. Schedules are looked at here, because cron is: what is due is submitted by a script that
first makes sure that the schedule is still the one that was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from msgspec.structs import replace

from tenuto.errors import InvalidInput, Unstorable
from tenuto.stores.base import Submission, Swept, TimeToLive, Verdict
from tenuto.stores.redis.codec import dump, schedule_of
from tenuto.stores.redis.trees import tree_parts
from tenuto.stores.redis.walks import MOST_TASKS, Walks
from tenuto.tasks.clock import Millis
from tenuto.tasks.goal import Tree, check_tree
from tenuto.tasks.schedules import Schedule, due_instants, fired, next_instant
from tenuto.tasks.states import FINAL, State

__all__ = ["Timekeeping", "refusal"]

_WORKER_FORGOTTEN: Millis = 3_600_000
"""A worker that was not seen for this long is not listed any more."""


class Timekeeping(Walks):
    """The part of a Redis store that keeps time."""

    async def put_schedule(self, schedule: Schedule) -> Schedule:
        schedule.check()
        while True:  # until nobody else has replaced it meanwhile
            before = await self._fetch("HGET", "schedules", schedule.name)
            known = schedule_of(before) if before is not None else None
            if known is not None and _rule(known) == _rule(schedule):
                kept = replace(schedule, next_at=known.next_at, last_at=known.last_at)
            else:
                kept = replace(schedule, next_at=next_instant(schedule, await self.now()), last_at=None)
            if await self._replace_schedule(before, kept):
                return kept

    async def _replace_schedule(self, before: bytes | None, schedule: Schedule) -> bool:
        given: dict[str, Any] = {"name": schedule.name, "after": dump(schedule)}
        if before is not None:
            given["before"] = before.decode()
        if schedule.next_at is not None and not schedule.paused:
            given["next_at"] = schedule.next_at
        return cast(bool, await self._write("schedule", given))

    async def delete_schedule(self, name: str) -> bool:
        while True:
            before = await self._fetch("HGET", "schedules", name)
            if before is None:
                return False
            if await self._write("schedule", {"name": name, "before": before.decode()}):
                return True

    async def sweep(self, limit: int, ttl: TimeToLive) -> Swept:
        limit = max(limit, 1)
        rung, schedules = 0, list[str]()
        finished = await self._finish_some(limit)
        while True:
            most = min(limit - rung, MOST_TASKS)
            count, schedules, now = await self._ring(most, limit - rung)
            rung += count
            if count < most or rung == limit:
                break
        created = sum([await self._fire(text, now) for text in schedules])
        left = limit - rung - len(schedules)
        before = {State.DONE: now - ttl.done, State.FAILED: now - ttl.failed, State.CANCELLED: now - ttl.cancelled}
        purged = await self._purge(before, left) if left > 0 else 0
        left -= purged
        given = (now - ttl.keys, max(left, 0), now - _WORKER_FORGOTTEN)
        looked_at, forgotten, next_due = await self._write("tidy", given)
        return Swept(
            changed=rung + len(schedules) + looked_at,
            fired=created,
            purged=purged,
            more=left - forgotten <= 0 or not finished,
            next_due=None if next_due is False else next_due,
        )

    async def _ring(self, most: int, most_schedules: int) -> tuple[int, list[str], Millis]:
        """Has tasks rung: how many were due; schedules that are due, unless there are more tasks; the instant."""
        given: tuple[Any, ...] = (most, most_schedules)
        while True:
            count, schedules, now, unfinished, left = await self._write("ring", given)
            await self._finish(unfinished)
            if not left:
                return count, schedules, now
            given = (most, most_schedules, count, left)

    async def _fire(self, text: str, now: Millis) -> int:
        """Submits what a schedule has due; how many tasks are new."""
        schedule = schedule_of(text)
        instants, following = due_instants(schedule, now)
        last = instants[-1] if instants else schedule.last_at
        after = replace(schedule, next_at=following, last_at=last)
        trees = [tree for tree in (Tree(fired(schedule, at)) for at in instants) if refusal(tree) is None]
        given: dict[str, Any] = {"name": schedule.name, "before": text, "after": dump(after)}
        given["trees"] = [tree_parts(tree) for tree in trees]
        if following is not None:
            given["next_at"] = following
        told = await self._write("fire", given, len(trees) + 1)
        return sum(what == "created" for what, *_ in told)

    async def purge(self, before: Millis, states: Sequence[State] = (), limit: int = 1_000) -> int:
        return await self._purge({state: before for state in states or FINAL if state in FINAL}, limit)

    async def _purge(self, before: dict[State, Millis], limit: int) -> int:
        purged, more = 0, True
        given = {state.value: at for state, at in before.items()}
        while more and purged < limit:
            count, more, unfinished = await self._write("purge", {"before": given, "trees": limit - purged})
            await self._finish(unfinished)
            purged += count
        return purged


def refusal(tree: Tree) -> Submission | None:
    """The answer to a tree that cannot be accepted whatever is stored."""
    try:
        check_tree(tree)
    except (InvalidInput, Unstorable) as error:
        return Submission(tree.root.id, Verdict.REFUSED, str(error))
    return None


def _rule(schedule: Schedule) -> tuple[object, ...]:
    return schedule.cron, schedule.zone, schedule.every, schedule.anchor
