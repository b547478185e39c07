"""Replays the events of a task and says where they are not a legal history.

This is the picture of `tasks.transitions` written a second time, as an acceptor: which event may follow in which
state, and what state it leads to. It reads events only, so an engine that writes them wrongly cannot hide it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenuto.tasks.event import FINAL_EVENTS, Event, EventKind
from tenuto.tasks.states import ACTIVE, FINAL, State
from tenuto.tasks.task import Kind, Task

__all__ = ["History", "replay"]

_LEADS_TO: dict[EventKind, tuple[frozenset[State], State]] = {
    EventKind.READY: (frozenset({State.BLOCKED, State.SCHEDULED, State.WAITING}), State.READY),
    EventKind.STARTED: (frozenset({State.READY}), State.RUNNING),
    EventKind.WAITING: (frozenset({State.RUNNING}), State.WAITING),
    EventKind.SCHEDULED: (frozenset({State.RUNNING, State.BLOCKED}), State.SCHEDULED),
    EventKind.RELEASED: (frozenset({State.RUNNING}), State.READY),
    EventKind.LOST: (frozenset({State.RUNNING}), State.READY),
    EventKind.DONE: (frozenset({State.RUNNING}), State.DONE),
    EventKind.FAILED: (ACTIVE, State.FAILED),
    EventKind.CANCELLED: (ACTIVE, State.CANCELLED),
}
_SAID_WHILE_RUNNING = frozenset({EventKind.PROGRESS, EventKind.EMITTED})


@dataclass
class History:
    """What the events of one task say."""

    task_id: str
    state: State | None = None
    attempt: int = 0
    run: int = 1
    paused: bool = False
    finals: int = 0
    """final events in the present run"""
    seq: int = 0
    at: int = 0


def replay(task: Task, events: Sequence[Event], complain: Callable[[str], None]) -> History:
    """Reads `events`, all those of `task`, in order; `complain` gets a sentence for everything illegal."""
    history = History(task.id)
    for event in events:
        problem = _step(history, event, task.kind is Kind.GOAL)
        if problem:
            complain(f"{task.id}: event {event.seq} ({event.kind}) {problem}")
    if history.seq != task.seq:
        complain(f"{task.id}: {history.seq} events, and the task says {task.seq}")
    if history.state is not task.state:
        complain(f"{task.id}: its events lead to {history.state}, and the task is {task.state}")
    if history.attempt != task.attempt or history.run != task.run:
        complain(
            f"{task.id}: its events lead to attempt {history.attempt} of run {history.run}, "
            f"the task is at attempt {task.attempt} of run {task.run}"
        )
    if task.is_final and history.finals != 1:
        complain(f"{task.id}: {history.finals} final events in run {task.run}")
    return history


def _step(history: History, event: Event, goal: bool) -> str:
    """What is illegal about `event` after `history`, which it moves on; empty when nothing is."""
    problem = _order(history, event)
    history.seq, history.at = event.seq, event.at
    kind, before = event.kind, history.state
    if kind is EventKind.CREATED:
        history.state = State(event.data["state"])
        return problem or ("comes a second time" if before is not None else "")
    if before is None:
        return problem or "comes before the task was created"
    if kind in FINAL_EVENTS:
        history.finals += 1
        history.paused = False
    match kind:
        case EventKind.RETRIED:
            history.state, history.run, history.finals = State(event.data["state"]), history.run + 1, 0
            return problem or ("revives a task that has not ended" if before not in FINAL else "")
        case EventKind.PAUSED | EventKind.RESUMED:
            history.paused = kind is EventKind.PAUSED
        case EventKind.STARTED:
            if history.paused:
                problem = problem or "starts a paused task"
            if event.attempt != history.attempt + 1:
                problem = problem or f"is attempt {event.attempt} after attempt {history.attempt}"
            history.attempt = event.attempt
        case _ if kind in _SAID_WHILE_RUNNING and before is not State.RUNNING:
            problem = problem or f"tells of a running task, which was {before}"
    if event.attempt != history.attempt:
        problem = problem or f"is told of attempt {event.attempt}, and the present one is {history.attempt}"
    if kind in _LEADS_TO:
        allowed, after = _LEADS_TO[kind]
        if goal and kind is EventKind.DONE:
            allowed = frozenset({State.WAITING})
        history.state = after
        if before not in allowed:
            problem = problem or f"cannot follow in state {before}"
    return problem


def _order(history: History, event: Event) -> str:
    if event.seq != history.seq + 1:
        return f"follows event {history.seq}"
    if event.at < history.at:
        return f"is {history.at - event.at} ms older than the one before it"
    return ""
