"""Sweeping: what time brings, in bounded bites. Several sweepers are harmless: each works in a transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from tenuto.stores.base import Submission, Swept, TimeToLive, Verdict
from tenuto.stores.rules.claim import put_back
from tenuto.stores.rules.ends import ended
from tenuto.stores.rules.submit import submit
from tenuto.stores.rules.work import Work
from tenuto.tasks import transitions
from tenuto.tasks.clock import Millis
from tenuto.tasks.goal import Tree
from tenuto.tasks.schedules import Schedule, due_instants, fired, next_instant
from tenuto.tasks.states import State
from tenuto.tasks.task import Task

__all__ = ["put_schedule", "sweep"]

_WORKER_FORGOTTEN: Millis = 3_600_000
"""A worker that was not seen for this long is not listed any more."""


Submit = Callable[[Work, Sequence[Tree]], list[Submission]]


def sweep(work: Work, limit: int, ttl: TimeToLive, submit: Submit = submit) -> Swept:
    """Timers first, then schedules, then what has lived out its time; `limit` items in all.

    `submit`: how the engine stores what is due.
    """
    tables, now = work.tables, work.now
    due = tables.due(limit)
    for found in due:
        task = tables.task(found.id)  # one that rang before it may have ended it
        if task is not None and _passed(task.due, now):
            _ring(work, task)
    left = limit - len(due)
    schedules = tables.due_schedules(left) if left else []
    created = sum(_fire(work, schedule, submit) for schedule in schedules)
    looked_at = put_back(work)
    left -= len(schedules)
    roots = tables.ended_roots(_before(ttl, now), left) if left > 0 else []
    for root in roots:
        tables.purge_tree(root)
    left -= len(roots)
    forgotten = tables.drop_keys(now - ttl.keys, left) if left > 0 else 0
    tables.drop_workers(now - _WORKER_FORGOTTEN)
    return Swept(
        changed=len(due) + len(schedules) + looked_at,
        fired=created,
        purged=len(roots),
        more=left - forgotten <= 0,
        next_due=tables.next_due(),
    )


def put_schedule(work: Work, schedule: Schedule) -> Schedule:
    """Stores a schedule; where rule and zone are as before, it keeps its place."""
    schedule.check()
    known = work.tables.schedule(schedule.name)
    if known is not None and _rule(known) == _rule(schedule):
        kept = replace(schedule, next_at=known.next_at, last_at=known.last_at)
    else:
        kept = replace(schedule, next_at=next_instant(schedule, work.now), last_at=None)
    work.tables.put_schedule(kept)
    return kept


def _rule(schedule: Schedule) -> tuple[object, ...]:
    return schedule.cron, schedule.zone, schedule.every, schedule.anchor


def _before(ttl: TimeToLive, now: Millis) -> dict[State, Millis]:
    return {State.DONE: now - ttl.done, State.FAILED: now - ttl.failed, State.CANCELLED: now - ttl.cancelled}


def _passed(at: Millis | None, now: Millis) -> bool:
    return at is not None and at <= now


def _ring(work: Work, task: Task) -> None:
    """A task's clock has rung."""
    now = work.now
    if task.is_final:
        work.store(task, transitions.let_go(task))
    elif transitions.out_of_time(task, now):
        expired = work.apply(task, transitions.expire(task, now))
        if expired.lease_until is not None and expired.lease_until <= now:
            expired = work.store(expired, transitions.let_go(expired))
        ended(work, expired, with_descendants=True)
    elif task.state is State.RUNNING:
        lost = work.apply(task, transitions.lose(task, now))
        if lost.is_final:
            ended(work, lost)
    elif task.state is State.SCHEDULED:
        work.apply(task, transitions.ripen(task, now))
    elif task.state is State.WAITING:
        work.tables.expect_nothing(task.id)
        work.apply(task, transitions.wake(task, now, "due"))


def _fire(work: Work, schedule: Schedule, submit: Submit) -> int:
    """Submits what is due; how many tasks are new."""
    instants, following = due_instants(schedule, work.now)
    answers = submit(work, [Tree(fired(schedule, at)) for at in instants])
    last = instants[-1] if instants else schedule.last_at
    work.tables.put_schedule(replace(schedule, next_at=following, last_at=last))
    return sum(answer.verdict is Verdict.CREATED for answer in answers)
