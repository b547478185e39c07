"""The state machine of a task: every transition, as a pure function of values.

            admit
      ┌───────┼──────────┐
      ▼       ▼          ▼
   BLOCKED  READY ◄── SCHEDULED ◄──────┐
      │ meet  ▲ │ claim    ripen       │ retry
      └───────┘ ▼                      │
            RUNNING ───────────────────┘
              │ │ │ suspend
              │ │ └──────► WAITING ── wake ──► READY
              │ └─ release, lose ──► READY
              └─ finish ──► DONE      fail, expire ──► FAILED

      CANCELLED ◄── cancel, from any state that is not final
      revive: a final state ──► BLOCKED or READY, in the next run

`paused` is a flag over the state, not a state: claims skip a paused task; everything else goes on.

Each function takes the task and the time, and returns the task as it is afterwards with the event that tells of
it; the engine writes both in one transaction. What follows for *other* tasks (edges, parents, limits) is the
engine's business, by the rules of `goal`, `waits` and `limits`.

Invariants, which hold before and after every function (the property tests hold them):

 1. `seq` rises by exactly one with every event.
 2. RUNNING implies a lease: `lease_until` is set. Otherwise it is set only on a task that was cancelled or expired
    while it ran, until its worker lets go: the limit slots are held exactly while `lease_until` is set.
 3. `attempt` never falls. A nonce is only compared together with its attempt; 0 means that the lease ended without a
    report, so that a late one finds no hold to match.
 4. Final states are left only by `revive`, which raises `run`.
 5. `finished_at` is set exactly in final states; `wait` exactly in WAITING of a task; `result` only in DONE.
 6. `failures` counts failed attempts in a row, `losses` leases in a row that ended without a word; a new step
    begins both anew, and releases count as neither.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import Raw
from msgspec.structs import asdict, replace

from tenuto.tasks.clock import Millis
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Kind, Progress, Task, TaskSpec
from tenuto.tasks.values import writable
from tenuto.tasks.waits import Wait

MOST_LOSSES = 5
"""A task whose lease was lost this often takes its workers down with it: it fails."""


class Change(NamedTuple):
    """A task after a transition, and the event that tells of it."""

    task: Task
    event: Event


def _told(task: Task, now: Millis, kind: EventKind, data: dict[str, Any] | None = None) -> Change:
    task = replace(task, seq=task.seq + 1)
    return Change(task, Event(task.id, task.seq, kind, now, task.attempt, data or {}, task.owner))


def _moved(
    task: Task, now: Millis, state: State, kind: EventKind, data: dict[str, Any] | None = None, **changes: Any
) -> Change:
    moved = replace(task, state=state, since=now, seq=task.seq + 1, **changes)
    return Change(moved, Event(moved.id, moved.seq, kind, now, moved.attempt, data or {}, moved.owner))


def _ended(task: Task, now: Millis, state: State, kind: EventKind, data: dict[str, Any], **changes: Any) -> Change:
    changes.setdefault("lease_until", None)
    return _moved(task, now, state, kind, data, finished_at=now, wait=None, unmet=0, gate="", paused=False, **changes)


# -- beginning ---------------------------------------------------------------------------------------------


def admit(
    spec: TaskSpec,
    now: Millis,
    *,
    task_id: str,
    root: str,
    parent: str | None = None,
    node: str | None = None,
    unmet: int = 0,
) -> Change:
    """A submitted task: BLOCKED while `unmet` dependencies are open, SCHEDULED before its `run_at`, else READY."""
    late = spec.run_at is not None and spec.run_at > now
    state = State.BLOCKED if unmet else State.SCHEDULED if late else State.READY
    fields = asdict(spec)
    fields["id"] = task_id
    task = Task(
        **fields, root=root, parent=parent, node=node, state=state, unmet=unmet, created_at=now, since=now, seq=1
    )
    return Change(task, Event(task_id, 1, EventKind.CREATED, now, 0, {"state": state.value}, task.owner))


def open_goal(spec: TaskSpec, now: Millis, nodes: int) -> Change:
    """A submitted goal: it waits for its `nodes` nodes. Its total time limit counts from now."""
    expires = None if spec.timeout is None else now + spec.timeout
    task = Task(
        **asdict(spec),
        kind=Kind.GOAL,
        root=spec.id,
        state=State.WAITING,
        created_at=now,
        since=now,
        started_at=now,
        expires_at=expires,
        unmet=nodes,
    )
    return _told(task, now, EventKind.CREATED, {"state": State.WAITING.value})


def meet(task: Task, now: Millis) -> Change:
    """The last open dependency of a BLOCKED task was met."""
    late = task.run_at is not None and task.run_at > now
    if late:
        return _moved(task, now, State.SCHEDULED, EventKind.SCHEDULED, {"due": task.run_at}, unmet=0)
    return _moved(task, now, State.READY, EventKind.READY, {"why": "dependencies met"}, unmet=0)


def ripen(task: Task, now: Millis) -> Change:
    """The time of a SCHEDULED task has come."""
    return _moved(task, now, State.READY, EventKind.READY, {"why": "due"})


# -- held by a worker --------------------------------------------------------------------------------------


def claim(task: Task, now: Millis, *, worker: str, nonce: int, lease: Millis) -> Change:
    """A worker takes a READY task for `lease` milliseconds."""
    first = task.started_at is None
    expires = now + task.timeout if first and task.timeout is not None else task.expires_at
    attempt, seq = task.attempt + 1, task.seq + 1
    claimed = replace(  # by itself, as `finish`: these two are most of what an engine does
        task,
        state=State.RUNNING,
        since=now,
        seq=seq,
        attempt=attempt,
        nonce=nonce,
        worker=worker,
        lease_until=now + lease,
        started_at=now if first else task.started_at,
        expires_at=expires,
    )
    return Change(claimed, Event(task.id, seq, EventKind.STARTED, now, attempt, {"worker": worker}, task.owner))


def finish(task: Task, now: Millis, result: Raw | None, not_applied: tuple[int, ...] = ()) -> Change:
    """RUNNING to DONE. `not_applied` names steering messages that came too late."""
    data: dict[str, Any] = {"not_applied": list(not_applied)} if not_applied else {}
    seq = task.seq + 1
    done = replace(
        task,
        state=State.DONE,
        since=now,
        seq=seq,
        finished_at=now,
        lease_until=None,
        wait=None,
        unmet=0,
        gate="",
        paused=False,
        result=result,
        error=None,
        failures=0,
        reason="",
    )
    return Change(done, Event(task.id, seq, EventKind.DONE, now, task.attempt, data, task.owner))


def fail(task: Task, now: Millis, error: ErrorRecord, reason: str = "") -> Change:
    """To FAILED, for good."""
    told = _dated(error, task, now)
    failures = task.failures + (task.state is State.RUNNING)
    data = {"error": asdict(told)}
    return _ended(task, now, State.FAILED, EventKind.FAILED, data, error=told, failures=failures, reason=reason)


def retry(task: Task, now: Millis, error: ErrorRecord, delay: Millis, excused: bool = False) -> Change:
    """RUNNING to SCHEDULED: the attempt failed and the next one may begin after `delay` milliseconds."""
    told = _dated(error, task, now)
    return _moved(
        task,
        now,
        State.SCHEDULED,
        EventKind.SCHEDULED,
        {"due": now + delay, "error": asdict(told)},
        run_at=now + delay,
        error=told,
        failures=task.failures + (not excused),
        lease_until=None,
    )


def suspend(task: Task, now: Millis, wait: Wait, missing: int) -> Change:
    """RUNNING to WAITING for `missing` more topics. The engine wakes it at once when `wait` is over already."""
    return _moved(
        task,
        now,
        State.WAITING,
        EventKind.WAITING,
        {"on": list(wait.on), "until": wait.until},
        wait=wait,
        unmet=missing,
        lease_until=None,
        failures=0,
    )


def closer(task: Task) -> Task:
    """One thing less that it waits for, and still something left."""
    return replace(task, unmet=task.unmet - 1)


def farther(task: Task) -> Task:
    """A BLOCKED task's dependency, met before, is open again: its node was asked to run once more."""
    return replace(task, unmet=task.unmet + 1)


def more(goal: Task, nodes: int) -> Task:
    """A running goal has `nodes` more to wait for: they were asked to run again."""
    return replace(goal, unmet=goal.unmet + nodes)


def wake(task: Task, now: Millis, why: str) -> Change:
    """WAITING to READY. Time spent waiting for people is given back to the total time limit."""
    expires = task.expires_at
    if expires is not None and task.wait is not None and task.wait.people:
        expires += now - task.since
    return _moved(task, now, State.READY, EventKind.READY, {"why": why}, wait=None, unmet=0, expires_at=expires)


def release(task: Task, now: Millis, reason: str, pause_reason: str | None = None) -> Change:
    """RUNNING back to READY, unharmed; with `pause_reason` it is paused as well."""
    changes: dict[str, Any] = {"lease_until": None}
    if pause_reason is not None:
        pause_reason = writable(pause_reason)
        changes |= {"paused": True, "reason": pause_reason}
    return _moved(task, now, State.READY, EventKind.RELEASED, {"reason": pause_reason or reason}, **changes)


def lose(task: Task, now: Millis) -> Change:
    """The lease ended without a word: RUNNING to READY, or to FAILED when it happened `MOST_LOSSES` times."""
    losses = task.losses + 1
    if losses >= MOST_LOSSES:
        error = ErrorRecord("LeaseLost", f"its worker vanished {losses} times while it ran; the last was {task.worker}")
        return fail(replace(task, losses=losses, nonce=0), now, error)
    data = {"worker": task.worker, "losses": losses}
    return _moved(task, now, State.READY, EventKind.LOST, data, losses=losses, lease_until=None, nonce=0)


def hold(task: Task, until: Millis) -> Task:
    """A RUNNING task's lease is extended."""
    return replace(task, lease_until=until)


def recorded(task: Task, steps: int) -> Task:
    """Its journal has grown by `steps`, fewer than none where one was taken away: failures in a row begin anew, and
    where it gets ahead, losses too. A step that was only begun once more is neither."""
    failures = 0 if steps else task.failures
    return replace(task, steps=task.steps + steps, failures=failures, losses=0 if steps > 0 else task.losses)


def park(task: Task, key: str) -> Task:
    """A READY task goes behind a limit without room; an empty `key` puts it back."""
    return replace(task, gate=key)


def let_go(task: Task) -> Task:
    """The worker of a task that ended under it has acknowledged, or its lease is over: the slots are free."""
    return replace(task, lease_until=None, nonce=0)


# -- directives --------------------------------------------------------------------------------------------


def cancel(task: Task, now: Millis, reason: str) -> Change:
    """Any state that is not final to CANCELLED, at once. A lease keeps its slots until the worker lets go."""
    return _ended(
        task,
        now,
        State.CANCELLED,
        EventKind.CANCELLED,
        {"reason": reason},
        reason=reason,
        lease_until=task.lease_until,
    )


def expire(task: Task, now: Millis) -> Change:
    """The deadline or the total time limit has passed: to FAILED. A lease keeps its slots as in `cancel`."""
    if task.deadline is not None and now >= task.deadline:
        error = ErrorRecord("Deadline", "its deadline has passed")
    else:
        error = ErrorRecord("TimeLimit", f"it used up its total time limit of {(task.timeout or 0) / 1000:g} s")
    told = _dated(error, task, now)
    data = {"error": asdict(told)}
    return _ended(
        task,
        now,
        State.FAILED,
        EventKind.FAILED,
        data,
        error=told,
        reason=error.message,
        lease_until=task.lease_until,
    )


def out_of_time(task: Task, now: Millis) -> bool:
    """Whether the deadline or the total time limit has passed: what `expire` is for."""
    waits_for_people = task.wait is not None and task.wait.people
    limits = (task.deadline, None if waits_for_people else task.expires_at)
    return any(at is not None and at <= now for at in limits)


def pause(task: Task, now: Millis, reason: str) -> Change:
    """Sets the flag. It leaves its place behind a limit, if it had one: what is paused does not wait for room."""
    return _told(replace(task, paused=True, reason=reason, gate=""), now, EventKind.PAUSED, {"reason": reason})


def resume(task: Task, now: Millis) -> Change:
    """Clears the flag."""
    return _told(replace(task, paused=False, reason=""), now, EventKind.RESUMED)


def elevate(task: Task, now: Millis, priority: int) -> Change:
    """Sets the priority."""
    return _told(replace(task, priority=priority), now, EventKind.ELEVATED, {"priority": priority})


def revive(task: Task, now: Millis, *, unmet: int = 0, fresh: bool = False) -> Change:
    """A final task runs again; `fresh` forgets its journal. A goal goes back to WAITING for its nodes.

    A deadline that has passed is dropped: it belonged to the run that missed it. A worker that has not let go of the
    run before has lost it now.
    """
    goal = task.kind is Kind.GOAL
    state = State.WAITING if goal else State.BLOCKED if unmet else State.READY
    deadline = task.deadline if task.deadline is not None and task.deadline > now else None
    revived = replace(
        task,
        run=task.run + 1,
        epoch=task.epoch + fresh,
        steps=0 if fresh else task.steps,
        failures=0,
        losses=0,
        unmet=unmet,
        lease_until=None,
        nonce=0,
        run_at=None,
        deadline=deadline,
        started_at=now if goal else None,
        expires_at=now + task.timeout if goal and task.timeout is not None else None,
        finished_at=None,
        result=None,
        error=None,
        progress=None,
        reason="",
    )
    return _moved(revived, now, state, EventKind.RETRIED, {"run": revived.run, "fresh": fresh, "state": state.value})


# -- a running task's own words ----------------------------------------------------------------------------


def progress(task: Task, now: Millis, fraction: float | None, message: str) -> Change:
    """Sets how far the task is."""
    shown = Progress(fraction, message, now)
    return _told(replace(task, progress=shown), now, EventKind.PROGRESS, {"fraction": fraction, "message": message})


def emit(task: Task, now: Millis, kind: EventKind, data: dict[str, Any]) -> Change:
    """An event that changes no state."""
    return _told(task, now, kind, data)


def _dated(error: ErrorRecord, task: Task, now: Millis) -> ErrorRecord:
    """`error`, dated, with the attempt in which it happened."""
    return replace(error.writable(), at=now, attempt=task.attempt)
