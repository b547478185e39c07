"""Tasks that a task spawns and waits for.

A spawn commits with its step, and a child's id follows from the step's key: however often the step is repeated after
crashes, there is one child. Waiting holds nothing: the task is suspended in the store until the children have ended,
and how they ended is recorded as a step, so that replay sees the same whatever happened to them since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from tenuto.errors import InvalidInput, WaitTimeout
from tenuto.tasks.blobs import apart
from tenuto.tasks.ids import child_id
from tenuto.tasks.outcome import StepState
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Task, TaskSpec
from tenuto.tasks.values import decode, encode
from tenuto.tasks.waits import Wait, task_topic
from tenuto.workers.failures import restored
from tenuto.workers.journal import Journal
from tenuto.workers.waiting import time_out, until_of

__all__ = ["Child", "ChildResult", "Need", "ids_of", "spawn", "wait_for"]

Need: TypeAlias = Literal["all", "any"] | int


class Child(msgspec.Struct, frozen=True):
    """A spawned task. Give it to `ctx.wait_for`."""

    id: str


class ChildResult(msgspec.Struct, frozen=True):
    """How a task that was waited for ended. A child that failed or was cancelled is a result, not an exception."""

    id: str
    state: State
    result: Any = None
    """of a task that is done"""
    error: ErrorRecord | None = None
    """of a task that failed"""
    reason: str = ""
    """of a task that was cancelled"""

    @property
    def done(self) -> bool:
        """Whether it ended well."""
        return self.state is State.DONE


class _Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """The same as it is recorded: a large result stays the reference that it is in the store."""

    id: str
    state: State
    result: Any = None
    error: ErrorRecord | None = None
    reason: str = ""


async def spawn(journal: Journal, name: str, specs: Sequence[TaskSpec]) -> list[Child]:
    """Submits children with one step named `name`. They belong to the tree of this task, and to its owner unless they
    name another."""
    place, recorded = journal.enter(name)
    try:
        if recorded is not None:
            return [Child(task_id) for task_id in await journal.value(recorded, list[str])]
        children: list[TaskSpec] = []
        blobs: dict[str, bytes] = {}
        for number, spec in enumerate(specs):
            if not isinstance(spec, TaskSpec):
                raise InvalidInput(f"a task is spawned from what create_task returns, not from {type(spec).__name__}")
            children.append(_child(journal, f"{place.key}[{number}]", spec, blobs))
        ids = [child.id for child in children]
        await journal.settle(place, ids, spawned=tuple(children), blobs=blobs)
        return [Child(task_id) for task_id in ids]
    finally:
        place.leave()


def _child(journal: Journal, step: str, spec: TaskSpec, blobs: dict[str, bytes]) -> TaskSpec:
    lease = journal.lease
    stored, large = apart(bytes(spec.payload))
    blobs.update(large)
    return replace(
        spec,
        id=child_id(lease.root, lease.task_id, step, lease.epoch),
        owner=spec.owner or lease.owner,
        payload=msgspec.Raw(stored),
    )


def ids_of(tasks: Child | str | Iterable[Child | str]) -> list[str]:
    """The ids of what a program wants to wait for."""
    several = [tasks] if isinstance(tasks, Child | str) else list(tasks)
    ids = [each.id if isinstance(each, Child) else each for each in several]
    return list(dict.fromkeys(ids))


async def wait_for(journal: Journal, ids: list[str], need: Need, timeout: float | None) -> list[ChildResult]:
    """Those of the tasks that have ended, in the order given, once `need` of them have. Raises `WaitTimeout`."""
    least = {"all": len(ids), "any": min(1, len(ids))}.get(need) if isinstance(need, str) else need
    if least is None or isinstance(least, bool) or not 0 <= least <= len(ids):
        raise InvalidInput(
            f"need must be 'all', 'any' or a number up to {len(ids)}, the tasks waited for, not {need!r}"
        )
    place, recorded = journal.enter("wait_for")
    try:
        if recorded is not None:
            if recorded.state is StepState.FAILED:
                raise restored(recorded.key, recorded.error, ["tenuto.errors", "WaitTimeout"])
            return await _results(journal, await journal.value(recorded, list[_Ended]))
        store = journal.services.store
        found = await journal.services.patience.ask(lambda: store.tasks_by_id(ids), "tasks_by_id")
        ended = [_ended(task_id, found.get(task_id)) for task_id in ids if _is_over(found.get(task_id))]
        if len(ended) >= least:
            await journal.settle(place, ended)
            return await _results(journal, ended)
        open_ids = [task_id for task_id in ids if not _is_over(found.get(task_id))]
        until = await until_of(journal, place, timeout)
        if until is not None and journal.now() >= until:
            what = f"{len(open_ids)} of the {len(ids)} tasks waited for have not ended after {timeout:g} s"
            await time_out(journal, place, WaitTimeout(what))
        # Not for those that have ended: inside a gather, where any topic ends the wait, it would end at once.
        topics = tuple(task_topic(task_id) for task_id in open_ids)
        await journal.suspend(place.scope, Wait(topics, least - len(ended), until))
    finally:
        place.leave()


def _is_over(task: Task | None) -> bool:
    return task is None or task.is_final


def _ended(task_id: str, task: Task | None) -> _Ended:
    if task is None:
        error = ErrorRecord("NotFound", f"there is no task {task_id!r}, or it was removed some time after it ended")
        return _Ended(task_id, State.FAILED, error=error)
    failed = task.state is State.FAILED
    result = None if task.result is None else decode(bytes(task.result))
    return _Ended(task.id, task.state, result, task.error if failed else None, task.reason)


async def _results(journal: Journal, ended: Sequence[_Ended]) -> list[ChildResult]:
    results: list[ChildResult] = []
    for each in ended:
        result = encode(each.result, f"the result of task {each.id!r}")
        whole = await journal.whole(result)
        results.append(
            ChildResult(each.id, each.state, each.result if whole is result else decode(whole), each.error, each.reason)
        )
    return results
