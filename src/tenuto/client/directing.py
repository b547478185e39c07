"""Directing tasks: stop, pause, retry, steer, resolve.

A directive takes effect before the verb returns. Each is safe to repeat. Unknown ids raise `NotFound`; acting on a
task that has ended raises `AlreadyFinished` with its state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tenuto.client.connection import Connection
from tenuto.client.reading import unknown
from tenuto.errors import AlreadyFinished, Conflict, InvalidInput
from tenuto.stores.base import TaskFilter
from tenuto.tasks.signal import Delivery, Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.turns import resolved
from tenuto.tasks.values import decode, encode
from tenuto.tasks.waits import event_topic

__all__ = ["Directing", "plain"]

_PAGE = 500
_ACTS = {SignalKind.EVENT: "send an event to"}


class Directing(Connection):
    """The verbs that send signals."""

    async def cancel_task(self, task_id: str, reason: str | None = None) -> None:
        """Ends a task or goal as cancelled, and every descendant with it; a running one is interrupted."""
        await self._send(Signal(task_id, SignalKind.CANCEL, reason=reason))

    async def cancel_goal(self, goal_id: str, reason: str | None = None) -> None:
        """Ends a goal and all its unfinished tasks as cancelled."""
        await self.cancel_task(goal_id, reason)

    async def pause_task(self, task_id: str, reason: str | None = None) -> None:
        """Holds a task or goal with its descendants: not claimed; a running one stops at its next step."""
        await self._send(Signal(task_id, SignalKind.PAUSE, reason=reason))

    async def resume_task(self, task_id: str) -> None:
        """Undoes `pause_task`, or a pause that the engine itself has set."""
        await self._send(Signal(task_id, SignalKind.RESUME))

    async def elevate_task(self, task_id: str, priority: int) -> None:
        """Gives a task and its unfinished descendants another priority; larger first."""
        await self._send(Signal(task_id, SignalKind.ELEVATE, data=priority))

    async def retry_task(self, task_id: str, *, fresh: bool = False) -> None:
        """Lets a finished task run again, a failed goal from where it failed.

        A task that failed or was cancelled goes on with the steps it has recorded; `fresh` forgets them.
        Raises `Conflict` when it has not ended, or nothing of it can be retried.
        """
        await self._send(Signal(task_id, SignalKind.RETRY, data={"fresh": fresh}))

    async def retry_goal(self, goal_id: str, *, fresh: bool = False) -> None:
        """Lets a failed goal go on from where it failed; what is done stays done."""
        await self.retry_task(goal_id, fresh=fresh)

    async def retry_failed(
        self, *, agent: str | None = None, owner_id: str | None = None, tag: str | None = None, fresh: bool = False
    ) -> int:
        """Replays the dead letters: every failed task that fits. A node of a goal that has ended takes its goal with
        it, from where it failed.

        Returns how many tasks and goals run again.
        """
        store = await self._ready()
        where = TaskFilter(states=(State.FAILED,), agent=agent, owner=owner_id, tag=tag)
        count, cursor = 0, None
        while True:
            page = await store.tasks(where, cursor, _PAGE)
            refused = await self._retry_all([task.id for task in page.tasks], fresh)
            goals = {task.parent: None for task in page.tasks if task.node is not None and task.id in refused}
            count += len(page.tasks) - len(refused)
            count += len(goals) - len(await self._retry_all([goal for goal in goals if goal is not None], fresh))
            cursor = page.cursor
            if cursor is None:
                return count

    async def _retry_all(self, task_ids: Sequence[str], fresh: bool) -> set[str]:
        """Those that cannot be retried (any more)."""
        again = [Signal(task_id, SignalKind.RETRY, data={"fresh": fresh}) for task_id in task_ids]
        answers = await self._store.signal(again) if again else ()
        pairs = zip(task_ids, answers, strict=True)
        return {task_id for task_id, answer in pairs if answer.delivery is not Delivery.ACCEPTED}

    async def steer_task(self, task_id: str, messages: str | Mapping[str, Any] | Sequence[Any]) -> None:
        """Puts messages before a task's next turn, in order. A task that ends first reports them as not applied.

        messages: a text, `{"role": "user", "content": ...}`, or a list of either. Raises `InvalidInput` for others.
        """
        several = [messages] if isinstance(messages, str | Mapping) else messages
        if not isinstance(several, Sequence):
            raise InvalidInput(
                f"messages must be a text, a message or a list of them, not {type(messages).__name__}: {messages!r}"
            )
        if not several:
            raise InvalidInput("messages is empty: there is nothing to steer with")
        signals = [Signal(task_id, SignalKind.STEER, data=plain(each, "a steering message")) for each in several]
        await self._send(*signals)

    async def send_event(self, task_id: str, name: str, data: Any = None, *, key: str | None = None) -> bool:
        """Sends a named event to a task, which receives it with `ctx.wait_event(name)`, also when it comes early.

        key: sent twice under one key it is stored once. Returns False when it was there already.
        """
        told = plain(data, f"the data of event {name!r}")
        return await self._send(Signal(task_id, SignalKind.EVENT, event_topic(name), told, key))

    async def resolve_step(
        self, task_id: str, key: str, how: Literal["done", "retry", "fail"], value: Any = None
    ) -> None:
        """Decides about a step that may run only once and whose outcome is unknown, or with which the task has failed.

        key: as the error and the journal show it. how: `done`, with its result as `value`; `retry`, it did not
        happen; `fail`, with a message as `value`. A paused task goes on at once; one that has failed goes on from there
        when it is retried.
        """
        if how not in ("done", "retry", "fail"):
            raise InvalidInput(f"how must be 'done', 'retry' or 'fail', not {how!r}")
        told = plain(value, f"the value of step {key!r}")
        data = {"key": key, "how": how, "value": resolved(key, told) if how == "done" else told}
        await self._send(Signal(task_id, SignalKind.RESOLVE, data=data))

    async def _send(self, *signals: Signal) -> bool:
        """Whether it changed anything."""
        store = await self._ready()
        changed = False
        for signal, answer in zip(signals, await store.signal(signals), strict=True):
            match answer.delivery:
                case Delivery.UNKNOWN:
                    raise unknown(signal.task_id)
                case Delivery.FINISHED:
                    task = await store.task(signal.task_id)
                    state = task.state.value if task is not None else "finished"
                    act = _ACTS.get(signal.kind, signal.kind.value)
                    raise AlreadyFinished(
                        f"task {signal.task_id!r} is {state}: it is too late to {act} it", state=state
                    )
                case Delivery.REFUSED:
                    raise Conflict(answer.detail)
                case delivery:
                    changed |= delivery is Delivery.ACCEPTED
        return changed


def plain(value: Any, what: str) -> Any:
    """`value` as JSON types, so that every engine stores the same."""
    return decode(encode(value, what))
