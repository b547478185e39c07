"""Calls that people or other systems answer: the task waits in the store until they do. See `tasks.calls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from pydantic_ai import ToolApproved, ToolDenied
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext

from tenuto.agents.llm.recorded_calls import has_run
from tenuto.agents.llm.tool_results import shown_answer
from tenuto.agents.llm.tools import options_of
from tenuto.tasks.calls import Issued, answer_key, call_name, issued_key, said
from tenuto.tasks.outcome import Step
from tenuto.tasks.values import encode
from tenuto.tasks.waits import Wait, answer_topic
from tenuto.workers.journal import Journal
from tenuto.workers.scopes import NOTE, Place, Scope

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["announce", "answers", "found_answer", "is_for_approval", "until_one"]


async def announce(
    journal: Journal,
    scope: Scope,
    call_id: str,
    name: str,
    arguments: Any,
    expires: float | None,
    kind: Literal["answer", "approval"] = "answer",
) -> Issued:
    """Notes that a call was issued, unless that is known; what was noted first."""
    key = issued_key(call_id)
    noted = journal.note(key)
    if noted is not None:
        return msgspec.convert(await journal.value(noted), Issued)
    until = None if expires is None else journal.now() + round(expires * 1000)
    issued = Issued(call_id, name, arguments, kind, journal.now(), until)
    step = Step(key, NOTE, value=msgspec.Raw(encode(issued, key)))
    told = {"tool_call_id": call_id, "tool": name, "arguments": arguments, "kind": kind}
    await journal.commit(scope, (step,), events=(("call_deferred", told),))
    return issued


async def is_for_approval(journal: Journal, call_id: str) -> bool:
    """Whether somebody was asked to approve the call."""
    noted = journal.note(issued_key(call_id))
    return noted is not None and msgspec.convert(await journal.value(noted), Issued).kind == "approval"


async def answers(attempt: Attempt, ctx: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
    """What was answered to all `requests`. Where something is missing, the task is suspended until it has come."""
    calls: dict[str, Any] = {}
    approvals: dict[str, Any] = {}
    waits: list[Wait] = []
    topics: list[str] = []
    attempt.asked.update(part.tool_call_id for part in (*requests.approvals, *requests.calls))
    for part in requests.approvals:
        if await has_run(attempt.journal, f"{attempt.here.path}{call_name(part.tool_call_id)}/{part.tool_name}"):
            # It needed no approval then.
            approvals[part.tool_call_id] = ToolApproved()
            continue
        found = await found_answer(attempt, part, "approval", waits, topics, _expires(ctx, part))
        if found is not None:
            approvals[part.tool_call_id] = _decision(found)
    for part in requests.calls:
        if (wait := attempt.suspensions.get(part.tool_call_id)) is not None:
            waits.append(wait)
            continue
        found = await found_answer(attempt, part, "answer", waits, topics, _expires(ctx, part))
        if found is not None:
            failed = ToolFailed(found["failed"]) if "failed" in found else None
            calls[part.tool_call_id] = failed or shown_answer(ctx, part, found["value"])
    if waits or topics:
        await attempt.journal.suspend(attempt.here, until_one(waits, topics))
    return requests.build_results(calls=calls, approvals=approvals)


def _expires(ctx: RunContext[Any], part: ToolCallPart) -> float | None:
    definition = None if ctx.tool_manager is None else ctx.tool_manager.get_tool_def(part.tool_name)
    return options_of(None if definition is None else definition.metadata, part.tool_name).expires


async def found_answer(
    attempt: Attempt,
    part: ToolCallPart,
    kind: Literal["answer", "approval"],
    waits: list[Wait],
    topics: list[str],
    expires: float | None = None,
) -> dict[str, Any] | None:
    """The recorded answer to a call; else None, after adding what to wait for. expires: seconds that a call which was
    not issued before may take."""
    journal, call_id = attempt.journal, part.tool_call_id
    key = answer_key(call_id)
    recorded = journal.note(key)
    if recorded is not None:
        return dict(await journal.value(recorded))
    issued = await announce(journal, attempt.here, call_id, part.tool_name, part.args_as_dict(), expires, kind)
    place = Place(attempt.here, "answer", key, NOTE)
    topic = answer_topic(call_id)
    message = journal.inbox.about(topic)
    consumed = () if message is None else (message.number,)
    answer: dict[str, Any] | None = None
    if issued.until is not None and (journal.now() if message is None else message.at) >= issued.until:
        # Also when the answer lies there by now: one that was late is late, whenever somebody looks.
        answer = {"failed": f"no {kind} came within {(issued.until - issued.at) / 1000:g} s", "at": issued.until}
    elif message is not None:
        answer = {"value": message.data, "at": message.at}
    if answer is not None:
        told = {"tool_call_id": call_id, "tool": part.tool_name, "kind": kind} | said(kind, answer)
        await journal.settle(place, answer, consumed=consumed, events=(("call_answered", told),))
        return answer
    if issued.until is None:
        topics.append(topic)
    else:
        waits.append(Wait((topic,), 1, issued.until, people=True))
    return None


def _decision(found: dict[str, Any]) -> ToolApproved | ToolDenied:
    if "failed" in found:
        return ToolDenied(f"The call was not approved in time: {found['failed']}.")
    value = found["value"]
    if isinstance(value, dict) and value.get("approved") is True:
        return ToolApproved(override_args=value.get("arguments"))
    note = value.get("note") if isinstance(value, dict) else None
    return ToolDenied(f"The call was rejected: {note}" if note else "The call was rejected.")


def until_one(waits: list[Wait], topics: list[str]) -> Wait:
    """Over when everything can have come: all answers that have no time limit, where nothing else is waited for;
    otherwise as soon as one of them all can be over, and the rest is waited for again."""
    if not waits:
        return Wait(tuple(topics), len(topics), None, people=True)
    on = dict.fromkeys([*topics, *(topic for wait in waits for topic in wait.on)])
    needs = [1 for _ in topics] + [min(wait.need, len(wait.on)) for wait in waits if wait.on]
    until = min((wait.until for wait in waits if wait.until is not None), default=None)
    return Wait(tuple(on), min(needs, default=1), until, people=all(wait.people for wait in waits))
