"""Reading tasks and goals: status, data, results, lists, and why a task does not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import msgspec

from tenuto.client.connection import Connection
from tenuto.client.open_calls import how_to_answer, open_calls_of, waits_for_answers
from tenuto.client.views import Page, TaskView, view
from tenuto.errors import InvalidInput, NotFound, TaskCancelled, TaskFailed
from tenuto.stores import large
from tenuto.stores.base import TaskFilter, Why
from tenuto.tasks.clock import duration
from tenuto.tasks.goal import Goal
from tenuto.tasks.outcome import Step
from tenuto.tasks.signal import Message
from tenuto.tasks.states import State, Status
from tenuto.tasks.task import ErrorRecord, Kind, Task

__all__ = ["Reading", "state_named", "unknown"]

T = TypeVar("T")


def unknown(task_id: str) -> NotFound:
    """The error for an id that nothing is stored under."""
    return NotFound(f"there is no task {task_id!r}: it was not submitted to this store, or was removed after its end")


def state_named(name: State | str) -> State:
    """The state called `name`, in any case."""
    try:
        return State(name)
    except ValueError:
        raise InvalidInput(f"{name!r} is no state: use one of {', '.join(State)}") from None


class Reading(Connection):
    """The verbs that change nothing."""

    async def get_task_status(self, task_id: str) -> Status:
        """`queued`, `processing`, `completed`, `failed` or `cancelled`. Raises `NotFound`."""
        return (await self._task(task_id)).status

    async def get_task_data(self, task_id: str) -> TaskView | None:
        """Everything about a task, its payload and result as Python values; None when there is no such task."""
        store = await self._ready()
        task = await store.task(task_id)
        if task is None:
            return None
        result = await large.result_of(store, task) if task.state is State.DONE else None
        return view(task, await large.payload_of(store, task), result)

    @overload
    async def get_task_result(self, task_id: str, timeout: float | None = None) -> Any: ...
    @overload
    async def get_task_result(self, task_id: str, timeout: float | None = None, *, type: type[T]) -> T: ...
    async def get_task_result(self, task_id: str, timeout: float | None = None, *, type: Any = Any) -> Any:
        """Waits until a task is done, and returns its result; of a goal, the results of its done nodes by name.

        timeout: the most seconds to wait; None waits for as long as it takes. A paused task is waited for as well.
        type: the type to give the result: a dataclass, msgspec struct or Pydantic model, or a builtin.

        Raises `TaskFailed` with the last error, `TaskCancelled`, `WaitTimeout`, `NotFound`, and `Unstorable` when the
        result does not fit `type`.
        """
        await self._ready()
        if timeout is not None:
            timeout = duration(timeout, "timeout") / 1000
        task = await self._endings.ended(task_id, timeout)
        if task.state is State.FAILED:
            error = task.error or ErrorRecord("Dependency", task.reason)
            shown = task.reason if task.error is None else f"{error.type}: {error.message}"
            raise TaskFailed(f"{task.kind.value} {task_id!r} failed: {shown}", error=error)
        if task.state is State.CANCELLED:
            reason = f": {task.reason}" if task.reason else ""
            raise TaskCancelled(f"{task.kind.value} {task_id!r} was cancelled{reason}", reason=task.reason)
        if task.kind is Kind.GOAL:
            return await self.results_of(task_id)
        return await large.result_of(self._store, task, type)

    async def list_tasks(
        self,
        *,
        states: Sequence[State | str] = (),
        agent: str | None = None,
        owner_id: str | None = None,
        root: str | None = None,
        parent: str | None = None,
        tag: str | None = None,
        goals: bool | None = None,
        roots_only: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """A page of tasks, newest first; every argument that is given must hold.

        states: such as `["failed"]`, which is the list of dead letters. goals: True only goals, False only tasks.
        cursor: that of the page before. Large payloads and results show as their stored reference.
        """
        where = TaskFilter(
            states=tuple(map(state_named, states)),
            agent=agent,
            owner=owner_id,
            root=root,
            parent=parent,
            tag=tag,
            kind=None if goals is None else Kind.GOAL if goals else Kind.TASK,
            roots_only=roots_only,
        )
        if not 1 <= limit <= 10_000:
            raise InvalidInput(f"limit must be between 1 and 10,000, not {limit}")
        page = await (await self._ready()).tasks(where, cursor, limit)
        return Page(tuple(map(view, page.tasks)), page.cursor)

    async def why(self, task_id: str) -> Why:
        """Why a task does not run, in sentences, the deciding one first. Of one that waits for people: what they are
        asked, and how they answer. Raises `NotFound`."""
        store = await self._ready()
        why = await store.why(task_id)
        if why is None:
            raise unknown(task_id)
        if why.state is not State.WAITING:
            return why
        task = await store.task(task_id)
        if task is None or not waits_for_answers(task):
            return why
        asked = map(how_to_answer, await open_calls_of(store, task))
        return msgspec.structs.replace(why, because=(*why.because, *asked))

    async def get_goal(self, goal_id: str) -> Goal:
        """A goal with its nodes and edges, as stored. Raises `NotFound`."""
        goal = await (await self._ready()).goal(goal_id)
        if goal is None:
            raise NotFound(f"there is no goal {goal_id!r}")
        return goal

    async def results_of(self, goal_id: str) -> dict[str, Any]:
        """The results of a goal's done nodes, by node. Raises `NotFound`."""
        goal = await self.get_goal(goal_id)
        done = [each for each in goal.nodes if each.state is State.DONE]
        return {each.node or each.id: await large.result_of(self._store, each) for each in done}

    async def journal(self, task_id: str) -> Sequence[Step]:
        """The steps that a task has recorded, in order. Raises `NotFound`."""
        await self._task(task_id)
        return await self._store.journal(task_id)

    async def inbox(self, task_id: str) -> Sequence[Message]:
        """The messages that a task has not consumed yet, in order. Raises `NotFound`."""
        await self._task(task_id)
        return await self._store.inbox(task_id)

    async def _task(self, task_id: str) -> Task:
        task = await (await self._ready()).task(task_id)
        if task is None:
            raise unknown(task_id)
        return task
