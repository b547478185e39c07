"""Answering what tasks ask: results of deferred work, approvals.

The first answer to a call counts. A task of an agent that works in turns knows which calls it has issued: answers to
others are refused. A function that waits with `ctx.wait_answer` may be answered before it begins to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from tenuto.client.directing import Directing, plain
from tenuto.client.open_calls import issued, open_calls_of, waits_for_answers
from tenuto.client.reading import unknown
from tenuto.errors import Conflict, NotFound
from tenuto.stores.base import TaskFilter
from tenuto.tasks.calls import Issued, OpenCall, answer_key
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind
from tenuto.tasks.waits import answer_topic

__all__ = ["Answering"]

_PAGE = 200
"""Waiting tasks that are read at once."""


class Answering(Directing):
    """The verbs that answer."""

    async def open_calls(
        self,
        task_id: str | None = None,
        *,
        owner_id: str | None = None,
        agent: str | None = None,
        limit: int = 1_000,
    ) -> list[OpenCall]:
        """The calls that nobody has answered yet: what agents ask of people.

        task_id: only those of this task, oldest first; also of one that runs already, or is paused. Without it those of
        all tasks that wait, the newest tasks first; finished tasks cost nothing. owner_id, agent: only those of their
        tasks. limit: at most so many. Raises `NotFound` for a task that is not there.
        """
        store = await self._ready()
        if task_id is not None:
            task = await store.task(task_id)
            if task is None:
                raise unknown(task_id)
            mine = owner_id in (None, task.owner) and agent in (None, task.agent)
            return (await open_calls_of(store, task))[:limit] if mine else []
        where = TaskFilter(states=(State.WAITING,), owner=owner_id, agent=agent, kind=Kind.TASK)
        found: list[OpenCall] = []
        cursor: str | None = None
        while True:
            page = await store.tasks(where, cursor, _PAGE)
            for task in filter(waits_for_answers, page.tasks):
                found += await open_calls_of(store, task)
                if len(found) >= limit:
                    return found[:limit]
            cursor = page.cursor
            if cursor is None:
                return found

    async def complete_deferred_tool(self, task_id: str, tool_call_id: str, result: Any = None) -> bool:
        """Delivers the result of work that a task has deferred: of a tool under `@deferred`, or what a function waits
        for with `ctx.wait_answer(tool_call_id)`.

        Returns False when there was an answer already, or its time was over. Raises `NotFound` for a call that was
        never issued, `Conflict` for one that asks for an approval.
        """
        data = plain(result, f"the result of call {tool_call_id!r}")
        return await self._answer(task_id, tool_call_id, data, "answer")

    async def approve(
        self,
        task_id: str,
        tool_call_id: str,
        note: str | None = None,
        *,
        by: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> bool:
        """Approves what a task asks for: the answer is `{"approved": True, "note": note, "by": by}`.

        by: who approves. arguments: those that were approved; where the call was issued with others, nothing is
        approved and `Conflict` is raised. Returns False when the call was decided before, or its time was over.
        """
        return await self._answer(task_id, tool_call_id, _decision(True, note, by), "approval", arguments)

    async def reject(self, task_id: str, tool_call_id: str, note: str | None = None, *, by: str | None = None) -> bool:
        """Rejects what a task asks for; the agent learns the `note`. Returns False when it was decided before."""
        return await self._answer(task_id, tool_call_id, _decision(False, note, by), "approval")

    async def _answer(
        self,
        task_id: str,
        call_id: str,
        data: Any,
        kind: Literal["answer", "approval"],
        arguments: Mapping[str, Any] | None = None,
    ) -> bool:
        topic = answer_topic(call_id)
        steps = await (await self._ready()).journal(task_id)
        calls = {call.id: call for call in issued(steps)}
        call = calls.get(call_id)
        if call is not None:
            _check(task_id, call, kind, arguments)
            if any(step.key == answer_key(call_id) for step in steps):
                return False
        elif any(step.key.startswith("turn-") for step in steps):
            known = f"; it waits for {', '.join(map(repr, calls))}" if calls else ""
            raise NotFound(f"task {task_id!r} has not issued a call {call_id!r}{known}")
        elif arguments is not None:
            raise Conflict(f"task {task_id!r} does not say with which arguments call {call_id!r} was issued")
        return await self._send(Signal(task_id, SignalKind.ANSWER, topic, data, key=topic))


def _check(task_id: str, call: Issued, kind: str, arguments: Mapping[str, Any] | None) -> None:
    if call.kind != kind:
        verb = "approve or reject" if call.kind == "approval" else "complete_deferred_tool"
        raise Conflict(f"call {call.id!r} of task {task_id!r} asks for an {call.kind}: use {verb}")
    if arguments is not None and dict(arguments) != call.arguments:
        shown = msgspec.json.encode(call.arguments).decode()
        raise Conflict(f"call {call.id!r} of task {task_id!r} was issued with other arguments: {shown:.500}")


def _decision(approved: bool, note: str | None, by: str | None) -> dict[str, Any]:
    return {"approved": approved, "note": note} | ({} if by is None else {"by": by})
