"""Recording journals: steps, with the children, events and consumed messages that commit with them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from tenuto.errors import InvalidInput, Unstorable
from tenuto.stores.base import Renewal, WorkerInfo
from tenuto.stores.rules.money import Plan
from tenuto.stores.rules.outcomes import holds
from tenuto.stores.rules.work import Work
from tenuto.tasks import transitions
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import EventKind
from tenuto.tasks.ids import check_name
from tenuto.tasks.lease import Hold
from tenuto.tasks.money import Refusal
from tenuto.tasks.outcome import Answer, Record, Recorded, Step, StepState
from tenuto.tasks.states import State
from tenuto.tasks.task import Task, TaskSpec

__all__ = ["record", "renew"]


def record(work: Work, records: Sequence[Record], lease: Millis) -> list[Recorded]:
    """Applies `records` in order; one answer for each."""
    return [_record(work, each, lease) for each in records]


def renew(work: Work, worker: WorkerInfo, wanted: Sequence[Hold], lease: Millis) -> list[Renewal]:
    """Extends leases, and notes that the worker lives."""
    work.tables.put_worker(replace(worker, seen_at=work.now))
    answers: list[Renewal] = []
    for hold in wanted:
        task = work.tables.task(hold.task_id)
        if task is None or task.state is not State.RUNNING or not holds(task, hold):
            answers.append(Renewal(held=False))
            continue
        work.store(task, transitions.hold(task, work.now + lease))
        answers.append(Renewal(held=True, paused=task.paused, messages=tuple(work.tables.inbox(task.id))))
    return answers


def _record(work: Work, each: Record, lease: Millis) -> Recorded:
    task = work.tables.task(each.hold.task_id)
    if task is None or task.state is not State.RUNNING or not holds(task, each.hold):
        return Recorded(Answer.STALE)
    try:
        for child in each.spawned:
            _check_child(task, child)
        plan = Plan(work.tables, task, each.settles, each.reserves) if each.settles or each.reserves else None
        if plan is not None:
            plan.check(each.settles, each.reserves)
    except (InvalidInput, Unstorable) as error:
        return Recorded(Answer.INVALID, detail=str(error))
    if each.read is not None and work.tables.steered(task.id, each.read):
        return Recorded(Answer.UNREAD)
    refused = None if plan is None else _planned(plan, each)
    if plan is not None and refused is not None:
        work.call(plan)
        return Recorded(Answer.REFUSED, refused=refused)
    tables = work.tables
    for key, data in each.blobs.items():
        tables.put_blob(task.root, key, data)
    tables.consume(task.id, each.consumed)
    added = sum(_put(work, task, step) for step in each.steps)
    for child in each.spawned:
        if tables.task(child.id) is None:
            _admit(work, task, child)
    known = transitions.hold(task, work.now + lease)
    if each.steps:
        known = transitions.recorded(known, added)
    for name, data in each.events:
        change = _told(known, work.now, name, data)
        tables.add_event(change.event)
        known = change.task
    if plan is not None:
        plan.write()
        known = replace(known, open_calls=known.open_calls + plan.opened)
    work.store(task, known)
    if plan is not None:
        work.booked(plan)
    return Recorded(Answer.ACCEPTED, paused=task.paused)


def _planned(plan: Plan, each: Record) -> Refusal | None:
    """Plans what a record says of calls; why a reservation has no room."""
    for settle in each.settles:
        plan.settle(settle)
    for reserve in each.reserves:
        refused = plan.reserve(reserve)
        if refused is not None:
            return refused
    return None


def _admit(work: Work, task: Task, child: TaskSpec) -> None:
    new = work.admit(transitions.admit(child, work.now, task_id=child.id, root=task.root, parent=task.id))
    if task.paused:
        work.apply(new, transitions.pause(new, work.now, task.reason))


def _check_child(task: Task, child: TaskSpec) -> None:
    check_name(child.id, "id")
    child.check()
    if not child.id.startswith(f"{task.root}."):
        raise InvalidInput(f"the child {child.id!r} of {task.id!r} does not belong to the tree {task.root!r}")
    if not child.agent:
        raise InvalidInput(f"the child {child.id!r} of {task.id!r} names no agent")
    if child.idempotency_key is not None or child.unique is not None:
        raise InvalidInput(f"the child {child.id!r} of {task.id!r} has a key of its own: only roots can have one")


def _put(work: Work, task: Task, step: Step) -> int:
    """Stores one step; how many the journal has grown by."""
    known = work.tables.step(task.id, step.key)
    if known is not None and known.state is not StepState.STARTED:
        return 0
    error = step.error.writable() if step.error is not None else None
    work.tables.put_step(task.id, replace(step, error=error, at=work.now, attempt=task.attempt))
    return 0 if known is not None else 1


def _told(task: Task, now: Millis, name: str, data: msgspec.Raw) -> transitions.Change:
    value = msgspec.json.decode(data)
    if name == "progress" and isinstance(value, dict):
        return transitions.progress(task, now, _fraction(value.get("fraction")), str(value.get("message") or ""))
    return transitions.emit(task, now, EventKind.EMITTED, {"name": name, "data": value})


def _fraction(given: object) -> float | None:
    """What a task says of its progress, when it is a part of one."""
    return given if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1 else None
