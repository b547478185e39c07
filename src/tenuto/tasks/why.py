"""Why a task does not run, in sentences. Engines gather the facts, the words are here."""

from __future__ import annotations

import msgspec

from tenuto.tasks.clock import Millis, iso
from tenuto.tasks.limits import Limit
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task
from tenuto.tasks.waits import in_words

__all__ = ["Facts", "explain"]


class Facts(msgspec.Struct, frozen=True):
    """What an engine knows around a task."""

    needs: tuple[tuple[str, State], ...] = ()
    """BLOCKED, or a goal: the unfinished or unmet tasks it needs, with their states"""
    limit: Limit | None = None
    """the limit behind which it is parked"""
    limit_used: int = 0
    limit_next: Millis = 0
    workers: int = 0
    """live workers that serve its agent"""
    ahead: int = 0
    """claimable tasks of the same owner and agent that come first"""


def explain(task: Task, facts: Facts, now: Millis) -> tuple[tuple[str, ...], Millis | None]:
    """Sentences, the deciding one first, and when time alone will change the state."""
    said: list[str] = []
    if task.paused:
        said.append(f"It is paused{_because(task.reason)}: resume it.")
    said += _state(task, facts, now)
    if task.error is not None and not task.is_final:
        said.append(f"The last attempt failed: {task.error.type}: {task.error.message}.")
    if task.deadline is not None and not task.is_final:
        said.append(f"It fails at its deadline, {iso(task.deadline)}.")
    return tuple(said), task.due


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _named(needs: tuple[tuple[str, State], ...]) -> str:
    shown = ", ".join(f"{name} ({state.value})" for name, state in needs[:5])
    return f"{shown} and {len(needs) - 5} more" if len(needs) > 5 else shown


def _state(task: Task, facts: Facts, now: Millis) -> list[str]:
    match task.state:
        case State.BLOCKED:
            return [f"It depends on {_named(facts.needs)}."]
        case State.SCHEDULED:
            how = "scheduled for" if task.error is None else "tried again at"
            return [f"It is {how} {iso(task.run_at or now)}."]
        case State.READY:
            return _ready(task, facts)
        case State.RUNNING:
            return [
                f"It is running: attempt {task.attempt} on worker {task.worker}, held until {iso(task.due or now)}."
            ]
        case State.WAITING if task.kind is Kind.GOAL:
            return [f"It waits for {task.unmet} of its nodes: {_named(facts.needs)}."]
        case State.WAITING:
            return [_waiting(task)]
        case State.DONE:
            return ["It is done."]
        case State.FAILED:
            error = task.error
            return [f"It failed: {error.type}: {error.message}." if error else f"It failed{_because(task.reason)}."]
        case State.CANCELLED:
            return [f"It was cancelled{_because(task.reason)}."]


def _waiting(task: Task) -> str:
    wait = task.wait
    if wait is None or not wait.on:
        return f"It sleeps until {iso(task.due or 0)}."
    shown = ", ".join(map(in_words, wait.on[:5])) + (f" and {len(wait.on) - 5} more" if len(wait.on) > 5 else "")
    until = f", at the latest until {iso(wait.until)}" if wait.until is not None else ""
    few = f"{task.unmet} of: " if len(wait.on) > 1 else ""
    return f"It waits for {few}{shown}{until}."


def _ready(task: Task, facts: Facts) -> list[str]:
    said = []
    if task.gate and facts.limit is not None:
        limit = facts.limit
        if limit.concurrency is not None and facts.limit_used >= limit.concurrency:
            said.append(f"The limit {limit.key!r} allows {limit.concurrency} at once, and {facts.limit_used} run now.")
        else:
            said.append(f"The limit {limit.key!r} allows the next one at {iso(facts.limit_next)}.")
    if facts.workers == 0:
        said.append(f"No live worker serves the agent {task.agent!r}: start one.")
    elif not said and not task.paused:
        ahead = f", {facts.ahead} of the same owner come first" if facts.ahead else ""
        who = "the worker" if facts.workers == 1 else f"the {facts.workers} workers"
        said.append(f"It waits for a free slot of {who} of {task.agent!r}{ahead}.")
    return said
