"""What is on record of calls that the present code would not make: it counts, whatever has become of the tool.

While a task waits, its agent's code may change: a tool gets another name, other arguments, an approval. The library
would then tell the model that there is no such tool, or that its arguments are wrong, and the model would have done
once more what is done already: a payment, for example. So where the journal has the result of a call of the open turn,
the model gets that; where somebody was asked, it gets the answer; and where a call was begun that may run only once,
the task waits for a person, as it would have with the tool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.durable_exec import JSON_CODEC
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelRequestPart, ToolCallPart

from tenuto.agents.llm.deferred import found_answer, until_one
from tenuto.tasks.calls import issued_key
from tenuto.tasks.turns import outcome_of, result_keys
from tenuto.tasks.waits import Wait
from tenuto.workers.scopes import NOTE, Place
from tenuto.workers.steps import StepCall, run_at

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["keep_results"]


async def keep_results(attempt: Attempt, request: ModelRequest) -> None:
    """Puts into `request`, which follows on the open turn, what is on record of calls that nobody has asked it for.

    Raises what a call on record raises, and what leaves the task waiting in the store.
    """
    waits: list[Wait] = []
    topics: list[str] = []
    response = attempt.conversation.response
    for call in () if response is None else response.tool_calls:
        if call.tool_call_id not in attempt.asked:
            kept = await _kept(attempt, call, waits, topics)
            request.parts = _with(request.parts, call.tool_call_id, kept)
    if waits or topics:
        await attempt.journal.suspend(attempt.scope, until_one(waits, topics))


async def _kept(attempt: Attempt, part: ToolCallPart, waits: list[Wait], topics: list[str]) -> list[dict[str, Any]]:
    journal = attempt.journal
    call = {"tool_name": part.tool_name, "tool_call_id": part.tool_call_id}
    for key in result_keys(attempt.conversation.turn, call):
        if (step := journal.note(key)) is not None:
            place = Place(attempt.scope, part.tool_name, key, NOTE)
            value = await run_at(journal, place, step, StepCall(part.tool_name, _gone, effect="once", type=Any))
            if (parts := outcome_of(call, value)) is not None:
                return parts
    if journal.note(issued_key(part.tool_call_id)) is not None:
        answer = await found_answer(attempt, part, "answer", waits, topics)
        return [] if answer is None else outcome_of(call, answer) or []
    return []


def _gone() -> None:
    """Never called: what is on record is only read."""


def _with(parts: Sequence[ModelRequestPart], call_id: str, kept: list[dict[str, Any]]) -> Sequence[ModelRequestPart]:
    """`parts`, with `kept` in place of what the library says about the call."""
    if not kept:
        return parts
    (message,) = cast("list[ModelRequest]", JSON_CODEC.load(list[ModelMessage], [{"kind": "request", "parts": kept}]))
    found: list[ModelRequestPart] = []
    for part in parts:
        found.extend(message.parts if getattr(part, "tool_call_id", None) == call_id else [part])
    return found
