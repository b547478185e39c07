"""Waiting for a time, an event or an answer, and running branches side by side.

A wait that is not over suspends the task in the store: `Suspended` leaves the function, the worker reports the wait,
and the task holds nothing until it is claimed again. Whatever has already come ends a wait at once: the store checks
under the lock under which it stores the wait.

A gather suspends when none of its branches can go on: each has finished or waits. The task then waits for whichever
topic comes first, or the earliest time; the branches that still wait suspend again.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NoReturn

import msgspec

from tenuto.errors import InvalidInput, JournalMismatch, StepUnknown, WaitTimeout
from tenuto.tasks.clock import Millis, duration
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.values import encode
from tenuto.tasks.waits import Wait
from tenuto.workers.failures import class_of, describe, restored
from tenuto.workers.interruption import HandedBack, Suspended, contained
from tenuto.workers.journal import Journal
from tenuto.workers.scopes import CURRENT, NOTE, Place, Scope
from tenuto.workers.telling import told_before_wait

__all__ = ["gather", "sleep", "time_out", "until_of", "wait_message"]

_STOPPED = (Suspended, HandedBack, JournalMismatch, StepUnknown)


async def sleep(journal: Journal, seconds: float) -> None:
    """Waits until `seconds` after the first time this call was reached."""
    length = duration(seconds, "seconds")
    place, recorded = journal.enter("sleep")
    try:
        if recorded is None:
            until = journal.now() + length
            await journal.settle(place, until)
        else:
            until = await journal.value(recorded, int)
        if journal.now() < until:
            await journal.suspend(place.scope, Wait(until=until))
    finally:
        place.leave()


async def wait_message(journal: Journal, name: str, topic: str, timeout: float | None) -> Any:
    """The data of the oldest message about `topic`, consumed with the step that records it. Raises `WaitTimeout`."""
    place, recorded = journal.enter(name)
    try:
        if recorded is not None:
            if recorded.state is StepState.FAILED:
                raise restored(recorded.key, recorded.error, ["tenuto.errors", "WaitTimeout"])
            return await journal.value(recorded)
        message = journal.inbox.about(topic)
        if message is not None:
            return await journal.value(await journal.settle(place, message.data, consumed=(message.number,)))
        until = await until_of(journal, place, timeout)
        if until is not None and journal.now() >= until:
            await time_out(journal, place, WaitTimeout(f"nothing came for {topic!r} within {timeout:g} s"))
        await journal.suspend(place.scope, Wait((topic,), 1, until, people=True))
    finally:
        place.leave()


async def until_of(journal: Journal, place: Place, timeout: float | None) -> Millis | None:
    """When the wait at `place` times out: noted when it is reached first, so that a repeat does not wait longer."""
    if timeout is None:
        return None
    key = f"{place.key}@until"
    noted = journal.note(key)
    if noted is not None:
        return int(await journal.value(noted, int))
    until = journal.now() + duration(timeout, "timeout")
    await journal.commit(place.scope, (Step(key, NOTE, value=msgspec.Raw(encode(until, key))),))
    return until


async def time_out(journal: Journal, place: Place, error: WaitTimeout) -> NoReturn:
    """Records that the wait at `place` timed out, and raises `error`."""
    step = Step(place.key, place.position, StepState.FAILED, value=class_of(error), error=describe(error))
    await journal.commit(place.scope, (step,))
    raise error


async def gather(
    journal: Journal, branches: Sequence[Awaitable[Any] | Callable[[], Awaitable[Any]]], return_exceptions: bool
) -> list[Any]:
    """Runs the branches side by side, each in a scope of its own; their results, in order."""
    try:
        _check(branches)
        scope, position = journal.enter_gather()
        await journal.outlive(scope)
        scopes = [scope.branch(position, number) for number in range(len(branches))]
        stopped = f"{scope.path}{position}@stopped"
        known = journal.note(stopped)
        never: set[int] = set() if known is None else set(await journal.value(known, list[int]))
    except BaseException:
        for branch in branches:
            _drop(branch)
        raise
    tasks = [
        _drop(branch) if number in never else _start(journal, inner, branch)
        for number, (inner, branch) in enumerate(zip(scopes, branches, strict=True))
    ]
    begun = [task for number, task in enumerate(tasks) if number not in never]
    try:
        left = set(begun)
        while left and (return_exceptions or not _broken(begun)):
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        cancelled = never | await _end(journal, scope, scopes, tasks)
    if not (never or return_exceptions) and journal.halt is None and _broken(begun):
        # Committed with the failure that ended them: a replay meets that failure, and does not begin them again.
        over = sorted(cancelled.union(number for number, inner in enumerate(scopes) if inner.suspended is not None))
        if over:
            scope.failures.append(Step(stopped, NOTE, value=msgspec.Raw(encode(over, stopped))))
    return await _joined(journal, scope, scopes, tasks, cancelled, return_exceptions)


def _check(branches: Sequence[object]) -> None:
    """Raises `InvalidInput` when something cannot be run as a branch."""
    for number, branch in enumerate(branches):
        if not (asyncio.iscoroutine(branch) or callable(branch) or isinstance(branch, Awaitable)):
            raise InvalidInput(
                f"branch {number} of ctx.gather is {type(branch).__name__}: give coroutines or functions"
            )


def _start(journal: Journal, scope: Scope, branch: Awaitable[Any] | Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
    async def run() -> Any:
        try:
            value = await (branch() if callable(branch) else branch)
        except (SystemExit, KeyboardInterrupt) as error:
            raise contained(error) from error
        journal.leftover(scope.path)
        return value

    inside = contextvars.copy_context()
    inside.run(CURRENT.set, scope)
    return asyncio.get_running_loop().create_task(run(), context=inside)


def _drop(branch: Awaitable[Any] | Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
    """A branch that does not begin."""
    if asyncio.iscoroutine(branch):
        branch.close()  # it will never run, and must not complain about that
    dropped = asyncio.get_running_loop().create_future()
    dropped.cancel()
    return dropped


def _error(task: asyncio.Future[Any]) -> BaseException | None:
    if not task.done():
        return None
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def _broken(tasks: Iterable[asyncio.Future[Any]]) -> bool:
    """Whether a branch ended in a way that ends the gather. One that waits does not, nor one that was stopped at a
    verb: the steps of the others that are in flight end, and are recorded."""
    return any((error := _error(task)) is not None and not isinstance(error, _STOPPED) for task in tasks)


async def _end(
    journal: Journal, scope: Scope, scopes: Sequence[Scope], tasks: Sequence[asyncio.Future[Any]]
) -> set[int]:
    """Cancels the branches that still run; which ones those were."""
    running = {number: task for number, task in enumerate(tasks) if not task.done()}
    for task in running.values():
        task.cancel()
    if running:
        await asyncio.wait(running.values())
    for inner, task in zip(scopes, tasks, strict=True):
        scope.failures += inner.failures  # the program has outlived them when it goes on behind the gather
        if _error(task) is not None:
            journal.forget(inner.path)
    return set(running)


async def _joined(
    journal: Journal,
    scope: Scope,
    scopes: Sequence[Scope],
    tasks: Sequence[asyncio.Future[Any]],
    cancelled: set[int],
    return_exceptions: bool,
) -> list[Any]:
    if journal.halt is not None:
        raise journal.halt
    errors = [_error(task) for task in tasks]
    waits = [inner.suspended.wait for inner in scopes if inner.suspended is not None]
    for number, error in enumerate(errors):
        if error is None or isinstance(error, Suspended) or number in cancelled:
            continue
        if not return_exceptions or not isinstance(error, Exception):
            raise error
    if cancelled:
        journal.refuse(
            f"task {journal.lease.task_id!r} does not follow its journal: a branch of a gather failed and ended the "
            "others, and does not fail now; put the old code back, or retry the task fresh"
        )
    if waits:
        await journal.outlive(scope, *told_before_wait(journal, *scopes))
        await journal.suspend(scope, _first_of(waits))
    return [task.result() if error is None else error for task, error in zip(tasks, errors, strict=True)]


def _first_of(waits: Sequence[Wait]) -> Wait:
    """Over as soon as one of `waits` may be: a branch whose wait needs more looks again and suspends again."""
    topics = dict.fromkeys(topic for wait in waits for topic in wait.on)
    until = min((wait.until for wait in waits if wait.until is not None), default=None)
    return Wait(tuple(topics), 1, until, people=all(wait.people for wait in waits))
