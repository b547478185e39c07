"""Answering what tasks ask: results of deferred work, approvals.

The first answer to a call counts. A task of an agent that works in turns knows which calls it has issued: answers to
others are refused. A function that waits with `ctx.wait_answer` may be answered before it begins to wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from tenuto.client.directing import Directing, plain
from tenuto.errors import Conflict, NotFound
from tenuto.tasks.calls import Issued, answer_key, is_issued_key
from tenuto.tasks.outcome import Step
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.values import decode
from tenuto.tasks.waits import answer_topic

__all__ = ["Answering"]


class Answering(Directing):
    """The verbs that answer."""

    async def open_calls(self, task_id: str) -> list[Issued]:
        """The calls of a task that nobody has answered yet, oldest first: what its agent asks for."""
        steps = await (await self._ready()).journal(task_id)
        answered = {message.topic for message in await (await self._ready()).inbox(task_id)}
        keys = {step.key for step in steps}
        return [
            call for call in _issued(steps) if answer_key(call.id) not in keys and answer_topic(call.id) not in answered
        ]

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
        calls = {call.id: call for call in _issued(steps)}
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


def _issued(steps: Sequence[Step]) -> list[Issued]:
    found = [step for step in steps if is_issued_key(step.key) and step.value is not None]
    return [msgspec.convert(decode(bytes(step.value or b"null")), Issued) for step in found]


def _check(task_id: str, call: Issued, kind: str, arguments: Mapping[str, Any] | None) -> None:
    if call.kind != kind:
        verb = "approve or reject" if call.kind == "approval" else "complete_deferred_tool"
        raise Conflict(f"call {call.id!r} of task {task_id!r} asks for an {call.kind}: use {verb}")
    if arguments is not None and dict(arguments) != call.arguments:
        shown = msgspec.json.encode(call.arguments).decode()
        raise Conflict(f"call {call.id!r} of task {task_id!r} was issued with other arguments: {shown:.500}")


def _decision(approved: bool, note: str | None, by: str | None) -> dict[str, Any]:
    return {"approved": approved, "note": note} | ({} if by is None else {"by": by})
