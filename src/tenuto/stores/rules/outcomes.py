"""Committing what workers report about finished attempts."""

from __future__ import annotations

from collections.abc import Sequence

from tenuto.stores.rules.ends import ended
from tenuto.stores.rules.work import Work
from tenuto.tasks import transitions
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Ending, Outcome
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.tasks.waits import Wait, budget_topic

__all__ = ["commit", "holds"]


def commit(work: Work, outcomes: Sequence[Outcome]) -> list[Answer]:
    """Applies `outcomes` in order; one answer for each."""
    return [_commit(work, outcome) for outcome in outcomes]


def holds(task: Task, hold: Hold) -> bool:
    """Whether `hold` is the task's latest, and did not end without a report."""
    return hold.nonce != 0 and task.attempt == hold.attempt and task.nonce == hold.nonce


def _commit(work: Work, outcome: Outcome) -> Answer:
    task = work.tables.task(outcome.hold.task_id)
    if task is None or not _sound(outcome):
        return Answer.INVALID
    if not holds(task, outcome.hold):
        return Answer.STALE
    if task.state is not State.RUNNING:
        if task.lease_until is None:
            return Answer.ALREADY
        work.store(task, transitions.let_go(task))  # it ended under its worker, which acknowledges that now
        return Answer.STALE
    if outcome.consumed:
        work.tables.consume(task.id, outcome.consumed)
    for key, data in outcome.blobs.items():
        work.tables.put_blob(task.root, key, data)
    _apply(work, task, outcome)
    return Answer.ACCEPTED


def _sound(outcome: Outcome) -> bool:
    match outcome.ending:
        case Ending.DONE:
            return outcome.result is not None
        case Ending.FAILED | Ending.RETRY:
            return outcome.error is not None and outcome.delay >= 0
        case Ending.WAIT:
            wait = outcome.wait
            return wait is not None and wait.need >= 0 and (bool(wait.on) or wait.until is not None)
        case Ending.RELEASE:
            return True


def _apply(work: Work, task: Task, outcome: Outcome) -> None:
    now = work.now
    match outcome.ending:
        case Ending.DONE:
            late = work.tables.inbox(task.id)
            steering: tuple[int, ...] = ()
            if late:
                work.tables.consume(task.id, [message.number for message in late])
                steering = tuple(message.number for message in late if message.kind is SignalKind.STEER)
            ended(work, work.apply(task, transitions.finish(task, now, outcome.result, steering)))
        case Ending.FAILED:
            assert outcome.error is not None
            failed = work.apply(task, transitions.fail(task, now, outcome.error))
            ended(work, failed, with_descendants=transitions.out_of_time(task, now))
        case Ending.RETRY:
            assert outcome.error is not None
            work.apply(task, transitions.retry(task, now, outcome.error, outcome.delay, outcome.excused))
        case Ending.WAIT:
            assert outcome.wait is not None
            _suspend(work, task, outcome.wait)
        case Ending.RELEASE:
            work.apply(task, transitions.release(task, now, "handed back", outcome.pause))


def _suspend(work: Work, task: Task, wait: Wait) -> None:
    ends = {topic: topic.removeprefix("task:") for topic in wait.on if topic.startswith("task:")}
    known = work.tables.tasks(ends.values())
    come = {message.topic for message in work.tables.inbox(task.id)}.difference(ends)
    come.update(topic for topic, task_id in ends.items() if task_id not in known or known[task_id].is_final)
    come.update(_called(work, task, wait))
    missing, need = wait.outstanding(come)
    waiting = work.apply(task, transitions.suspend(task, work.now, wait, need))
    if wait.on and not need:
        work.apply(waiting, transitions.wake(waiting, work.now, "came already"))
    elif wait.until is not None and wait.until <= work.now:
        work.apply(waiting, transitions.wake(waiting, work.now, "due"))
    else:
        work.tables.expect(task.id, missing)


def _called(work: Work, task: Task, wait: Wait) -> set[str]:
    """Budgets that the task waits for, and that are gone, or in whose line it was called."""
    topics = {topic for topic in wait.on if topic.startswith("budget:")}
    if not topics:
        return set()
    scopes = [topic.removeprefix("budget:") for topic in topics]
    waits_still: set[str] = set()
    for budget, line in work.tables.find_books("", scopes, (), ()).purses:
        place = line.get(task.id)
        if place is not None and place.called:
            return topics
        waits_still.add(budget_topic(budget.scope))
    return topics - waits_still
