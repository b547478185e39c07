"""What is stored, as JSON documents: the same fields always, instants in ISO 8601, lengths of time in seconds."""

from __future__ import annotations

from typing import Any

import msgspec

from tenuto.cli.graph import layer_numbers
from tenuto.stores.base import Why
from tenuto.tasks.clock import Millis, iso
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.goal import Goal
from tenuto.tasks.outcome import Step
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.task import ErrorRecord, Task

__all__ = [
    "event_data",
    "event_document",
    "goal_document",
    "schedule_document",
    "step_document",
    "task_document",
    "why_document",
]


def _at(instant: Millis | None) -> str | None:
    return None if instant is None else iso(instant)


def _seconds(length: Millis | None) -> float | None:
    return None if length is None else length / 1000


def _value(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else msgspec.json.decode(bytes(raw))


def _error(error: ErrorRecord | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "type": error.type,
        "message": error.message,
        "traceback": error.traceback,
        "at": _at(error.at or None),
        "attempt": error.attempt,
    }


def task_document(task: Task) -> dict[str, Any]:
    """A task or goal, without its values."""
    progress = task.progress
    return {
        "id": task.id,
        "kind": task.kind.value,
        "agent": task.agent,
        "owner": task.owner,
        "title": task.title,
        "state": task.state.value,
        "status": task.status.value,
        "paused": task.paused,
        "reason": task.reason,
        "root": task.root,
        "parent": task.parent,
        "node": task.node,
        "priority": task.priority,
        "band": task.band,
        "run": task.run,
        "attempt": task.attempt,
        "failures": task.failures,
        "losses": task.losses,
        "progress": None
        if progress is None
        else {"fraction": progress.fraction, "message": progress.message, "at": _at(progress.at)},
        "error": _error(task.error),
        "created_at": _at(task.created_at),
        "since": _at(task.since),
        "run_at": _at(task.run_at),
        "started_at": _at(task.started_at),
        "finished_at": _at(task.finished_at),
        "deadline": _at(task.deadline),
        "timeout": _seconds(task.timeout),
        "attempt_timeout": _seconds(task.attempt_timeout),
        "due": _at(task.due),
        "worker": task.worker,
        "waits_for": None
        if task.wait is None
        else {"on": list(task.wait.on), "need": task.wait.need, "until": _at(task.wait.until)},
        "limits": list(task.limits),
        "held_back_by": task.gate or None,
        "tags": list(task.tags),
        "metadata": task.metadata,
        "steps": task.steps,
        "events": task.seq,
    }


def goal_document(goal: Goal) -> dict[str, Any]:
    """A goal with its nodes, their layers and the edges between them."""
    layers = layer_numbers(goal)
    return task_document(goal.task) | {
        "nodes": [task_document(task) | {"layer": layers[task.node or task.id]} for task in goal.nodes],
        "edges": [{"source": edge.source, "target": edge.target, "when": edge.when.value} for edge in goal.edges],
    }


def event_document(event: Event) -> dict[str, Any]:
    """One event; `cursor` is what `--after` takes."""
    return {
        "task_id": event.task_id,
        "seq": event.seq,
        "kind": event.kind.value,
        "at": iso(event.at),
        "attempt": event.attempt,
        "owner": event.owner,
        "data": event_data(event),
        "cursor": event.cursor,
    }


def event_data(event: Event) -> dict[str, Any]:
    """What an event tells; its instants in ISO 8601. What a task has emitted itself is left as it is."""
    if event.kind is EventKind.EMITTED:
        return event.data
    return {
        name: iso(value) if name in ("due", "until") and isinstance(value, int) else value
        for name, value in event.data.items()
    }


def step_document(step: Step) -> dict[str, Any]:
    """One entry of a journal."""
    return {
        "key": step.key,
        "position": step.position,
        "state": step.state.value,
        "value": _value(step.value),
        "error": _error(step.error),
        "at": _at(step.at),
        "attempt": step.attempt,
    }


def schedule_document(schedule: Schedule) -> dict[str, Any]:
    """A schedule and the task that it submits."""
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "every": _seconds(schedule.every),
        "catch_up": schedule.catch_up.value,
        "paused": schedule.paused,
        "next_at": _at(schedule.next_at),
        "last_at": _at(schedule.last_at),
        "agent": schedule.task.agent,
        "owner": schedule.task.owner,
        "title": schedule.task.title,
        "payload": _value(schedule.task.payload),
    }


def why_document(why: Why) -> dict[str, Any]:
    """Why a task does not run."""
    return {"task_id": why.task_id, "state": why.state.value, "because": list(why.because), "until": _at(why.until)}
