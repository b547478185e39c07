"""What workers report, as the scripts take it: outcomes of attempts, and records of journals; and what they answer."""

from __future__ import annotations

from typing import Any

import msgspec

from tenuto.errors import InvalidInput, Unstorable
from tenuto.stores.redis.codec import dump, fields_of, text
from tenuto.stores.redis.money import refusal_of, reserve_parts, settle_parts
from tenuto.stores.rules.calls import objection
from tenuto.tasks.ids import check_name
from tenuto.tasks.money import Reserve, Settle
from tenuto.tasks.outcome import Answer, Ending, Outcome, Record, Recorded, Step
from tenuto.tasks.task import ErrorRecord, TaskSpec
from tenuto.tasks.values import writable
from tenuto.tasks.waits import Wait

__all__ = ["outcome_parts", "record_parts", "recorded"]


_DONE = Ending.DONE.value


def outcome_parts(outcome: Outcome) -> dict[str, Any]:
    """An outcome as `outcomes.commit` takes it; one that contradicts itself has no ending."""
    task_id, attempt, nonce = outcome.hold
    parts: dict[str, Any] = {"id": task_id, "attempt": attempt, "nonce": nonce}
    ending = outcome.ending
    match ending:
        case Ending.DONE if outcome.result is not None:
            parts["ending"], parts["result"] = _DONE, text(bytes(outcome.result))
        case Ending.FAILED | Ending.RETRY if outcome.error is not None and outcome.delay >= 0:
            parts |= {"ending": ending.value, "error": _error_parts(outcome.error), "delay": outcome.delay}
            parts["excused"] = outcome.excused
        case Ending.WAIT if outcome.wait is not None and _sound(outcome.wait):
            parts |= {"ending": ending.value, "wait": _wait_parts(outcome.wait)}
        case Ending.RELEASE:
            parts["ending"] = ending.value
            if outcome.pause is not None:
                parts["pause"] = writable(outcome.pause)
    if outcome.consumed:
        parts["consumed"] = outcome.consumed
    if outcome.blobs:
        parts["blobs"] = {key: text(data) for key, data in outcome.blobs.items()}
    return parts


def _error_parts(error: ErrorRecord) -> tuple[str, str, str]:
    error = error.writable()
    return error.type, error.message, error.traceback


def _sound(wait: Wait) -> bool:
    return wait.need >= 0 and (bool(wait.on) or wait.until is not None)


def _wait_parts(wait: Wait) -> tuple[Any, ...]:
    until = False if wait.until is None else wait.until
    return list(dict.fromkeys(wait.on)), dump(wait.on), wait.need, until, wait.people, dump(wait)


def record_parts(record: Record) -> dict[str, Any]:
    """A record as `record.lua` takes it."""
    task_id, attempt, nonce = record.hold
    parts = {
        "id": task_id,
        "attempt": attempt,
        "nonce": nonce,
        "blobs": {key: text(data) for key, data in record.blobs.items()},
        "consumed": record.consumed,
        "steps": [_step_parts(step) for step in record.steps],
        "children": [_child_parts(child, task_id) for child in record.spawned],
        "events": [_event_parts(name, data) for name, data in record.events],
    }
    if record.read is not None:
        parts["read"] = record.read
    return parts | _call_parts(record) if record.settles or record.reserves else parts


def _call_parts(record: Record) -> dict[str, Any]:
    """What a record says of calls; `unsound`: why that makes no sense."""
    calls: list[Settle | Reserve] = [*record.settles, *record.reserves]
    try:
        for call in calls:
            call.check()
    except InvalidInput as error:
        return {"unsound": str(error)}
    return {
        "settles": [settle_parts(settle) for settle in record.settles],
        "reserves": [reserve_parts(reserve) for reserve in record.reserves],
    }


def _step_parts(step: Step) -> tuple[Any, ...]:
    error = "" if step.error is None else dump(step.error.writable())
    value = "" if step.value is None else text(bytes(step.value))
    return step.key, step.position, step.state.value, error, value


def _child_parts(child: TaskSpec, parent: str) -> dict[str, Any]:
    """`before` and `after`: why it cannot be accepted; between the two the script looks at its tree."""
    try:
        check_name(child.id, "id")
        child.check()
    except (InvalidInput, Unstorable) as error:
        return {"id": "", "fields": [], "before": str(error)}
    parts: dict[str, Any] = {"id": child.id, "fields": fields_of(child)}
    if not child.agent:
        parts["after"] = f"the child {child.id!r} of {parent!r} names no agent"
    elif child.idempotency_key is not None or child.unique is not None:
        parts["after"] = f"the child {child.id!r} of {parent!r} has a key of its own: only roots can have one"
    return parts


def _event_parts(name: str, data: msgspec.Raw) -> tuple[Any, ...]:
    value = msgspec.json.decode(data)
    if name == "progress" and isinstance(value, dict):
        return name, dump(_fraction(value.get("fraction"))), str(value.get("message") or "")
    return "emitted", dump({"name": name, "data": value})


def _fraction(given: object) -> float | None:
    """What a task says of its progress, when it is a part of one."""
    return given if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1 else None


def recorded(record: Record, answer: str, paused: bool, *why: Any) -> Recorded:
    """What became of `record`, as the script says it."""
    if answer == Answer.REFUSED:
        return Recorded(Answer.REFUSED, refused=refusal_of(why))
    detail = why[0] if why else ""
    if len(why) == 2:
        child, root = why
        detail = f"the child {child!r} of {record.hold.task_id!r} does not belong to the tree {root!r}"
    elif len(why) == 3:
        what, call, attempt = why
        detail = str(objection(what, record.hold.task_id, call, attempt))
    return Recorded(Answer(answer), paused, detail)
