"""Signals: directives take effect where they are stored, messages go into the inbox."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from tenuto.errors import Unstorable
from tenuto.stores.base import MOST_MESSAGES, Delivered
from tenuto.stores.rules.ends import ended
from tenuto.stores.rules.revive import retry
from tenuto.stores.rules.work import Work
from tenuto.tasks import transitions
from tenuto.tasks.event import EventKind
from tenuto.tasks.outcome import StepState
from tenuto.tasks.signal import Delivery, Message, Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Kind, Task
from tenuto.tasks.values import decode, encode

__all__ = ["signal"]

_ACCEPTED = Delivered(Delivery.ACCEPTED)


def signal(work: Work, signals: Sequence[Signal]) -> list[Delivered]:
    """Delivers `signals` in order; one answer for each."""
    return [_deliver(work, each) for each in signals]


def _deliver(work: Work, each: Signal) -> Delivered:
    try:
        written = encode((each.topic, each.key, each.reason, each.data), f"the {each.kind.value} to {each.task_id!r}")
    except Unstorable as error:
        return Delivered(Delivery.REFUSED, str(error))
    each = replace(each, data=decode(written)[3])
    task = work.tables.task(each.task_id)
    if task is None:
        return Delivered(Delivery.UNKNOWN, f"there is no task {each.task_id!r}")
    match each.kind:
        case SignalKind.RETRY:
            return retry(work, task, each)
        case SignalKind.RESOLVE:
            return _resolve(work, task, each)
        case _ if task.is_final:
            return Delivered(Delivery.FINISHED, f"{task.id!r} is {task.state.value}")
        case SignalKind.CANCEL:
            reason = each.reason or "cancelled on request"
            ended(work, work.apply(task, transitions.cancel(task, work.now, reason)), with_descendants=True)
            return _ACCEPTED
        case SignalKind.PAUSE:
            return _pause(work, task, each.reason or "paused on request")
        case SignalKind.RESUME:
            return _resume(work, task)
        case SignalKind.ELEVATE:
            return _elevate(work, task, each)
        case _:
            return _message(work, task, each)


def _unfinished(work: Work, top: Task) -> list[Task]:
    """`top` and every unfinished descendant, parents before children."""
    return [top, *work.tables.active_descendants(top.id)]


def _pause(work: Work, task: Task, reason: str) -> Delivered:
    if task.paused:
        return Delivered(Delivery.ALREADY, f"{task.id!r} is paused already")
    for each in _unfinished(work, task):
        if not each.paused:
            work.apply(each, transitions.pause(each, work.now, reason))
    return _ACCEPTED


def _resume(work: Work, task: Task) -> Delivered:
    if not task.paused:
        return Delivered(Delivery.ALREADY, f"{task.id!r} is not paused")
    for each in _unfinished(work, task):
        if each.paused:
            work.apply(each, transitions.resume(each, work.now))
    return _ACCEPTED


def _elevate(work: Work, task: Task, each: Signal) -> Delivered:
    priority = each.data
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > 1_000_000_000:
        return Delivered(Delivery.REFUSED, f"a priority is a whole number within ±1,000,000,000, not {priority!r}")
    for one in _unfinished(work, task):
        if one.priority != priority:
            work.apply(one, transitions.elevate(one, work.now, priority))
    return _ACCEPTED


def _message(work: Work, task: Task, each: Signal) -> Delivered:
    tables = work.tables
    if task.kind is Kind.GOAL:
        return Delivered(Delivery.REFUSED, f"{task.id!r} is a goal: messages go to its nodes")
    if each.key is not None and tables.has_message_key(task.id, each.key):
        return Delivered(Delivery.ALREADY, f"{task.id!r} has had a message under the key {each.key!r}")
    if tables.inbox_size(task.id) >= MOST_MESSAGES:
        return Delivered(Delivery.REFUSED, f"the inbox of {task.id!r} is full ({MOST_MESSAGES:,} messages)")
    number = tables.next_message(task.id)
    topic = each.topic or each.kind.value
    work.tell(task, Message(number, each.kind, topic, each.data, work.now), each.key)
    data = {"kind": each.kind.value, "topic": topic, "number": number}
    work.apply(task, transitions.emit(task, work.now, EventKind.SIGNALLED, data))
    work.come(task.id, topic)
    return _ACCEPTED


def _resolve(work: Work, task: Task, each: Signal) -> Delivered:
    data = each.data if isinstance(each.data, dict) else {}
    key, how = str(data.get("key", "")), data.get("how")
    if how not in ("done", "retry", "fail"):
        return Delivered(Delivery.REFUSED, f"a step is resolved as done, retry or fail, not {how!r}")
    if task.state is State.RUNNING:
        return Delivered(Delivery.REFUSED, f"{task.id!r} is running: its worker decides")
    step = work.tables.step(task.id, key)
    lasting = step is not None and step.state is StepState.FAILED and task.state is State.FAILED
    if step is None or not (step.state is StepState.STARTED or lasting):
        return Delivered(
            Delivery.REFUSED, f"{task.id!r} has no step {key!r} whose outcome is unknown, or with which it has failed"
        )
    value = data.get("value")
    if how == "done":
        try:
            stored = msgspec.Raw(encode(value, f"the value of step {key!r}"))
        except Unstorable as error:
            return Delivered(Delivery.REFUSED, str(error))
        work.tables.put_step(task.id, replace(step, state=StepState.DONE, value=stored, error=None, at=work.now))
    elif how == "fail":
        failure = ErrorRecord("Resolved", str(value or "resolved as failed"), at=work.now, attempt=step.attempt)
        work.tables.put_step(task.id, replace(step, state=StepState.FAILED, error=failure, at=work.now))
    else:
        work.tables.drop_step(task.id, key)
        task = work.store(task, transitions.recorded(task, -1))
    task = work.apply(task, transitions.emit(task, work.now, EventKind.RESOLVED, {"key": key, "how": how}))
    if task.paused and not task.is_final:
        work.apply(task, transitions.resume(task, work.now))
    return _ACCEPTED
