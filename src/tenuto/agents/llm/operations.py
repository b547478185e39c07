"""What each of the library's operations becomes: an entry of the journal, or a question that only the journal answers.

What toolsets offer is asked for when the library asks: in each turn, or, where the offer of an MCP server is cached, in
each run. A run that goes on with a recorded turn gets what was on record for that turn or the last one before it, so
that the model's calls meet the tools that it was offered, and a server that is away is missed only by who needs it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.durable_exec import (
    DurableOperationId,
    EventStreamHandlerId,
    ModelCancelSuspendedResponseId,
    ModelCompactMessagesId,
    ModelRequestId,
    ToolsetCallToolId,
    ToolsetGetInstructionsId,
    ToolsetGetToolsId,
    record_durable_unit,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.background import give_up
from tenuto.agents.llm.model_calls import MODEL, ModelParams, ask_model
from tenuto.agents.llm.tool_calls import call_tool
from tenuto.agents.llm.tools import ToolOptions
from tenuto.tasks.outcome import Step, StepState
from tenuto.workers.scopes import NOTE, Place, Scope
from tenuto.workers.steps import StepCall, run_at

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["COMPACTION", "carry_out"]

COMPACTION = "model.compact_messages"
"""The name of summaries in the journal, whichever of the agent's models was asked for them."""


async def carry_out(
    attempt: Attempt,
    operation_id: DurableOperationId,
    name: str,
    body: Callable[[], Awaitable[object]],
    cache_key: tuple[object, ...],
    options: ToolOptions,
) -> object:
    """One operation, as one entry of the journal. See `JournalCallableOperationBackend.execute` for its parts."""
    scope, what = attempt.here, name.partition("__")[2]
    match operation_id:
        case ModelRequestId():
            model_id, sent, settings, parameters, ctx = cast("tuple[Any, ...]", cache_key)
            model = attempt.model_of(model_id, ctx)
            params = ModelParams(model, ctx.messages, settings, parameters, sent, _serving(model, ctx))
            return await ask_model(attempt, _next_place(scope, MODEL), params, body)
        case ModelCompactMessagesId():
            model_id, request, _, ctx = cast("tuple[Any, ...]", cache_key)
            model = attempt.model_of(model_id, ctx)
            params = ModelParams(
                model,
                ctx.messages,
                request.model_settings,
                request.model_request_parameters,
                request.messages,
                model,
            )
            return await ask_model(attempt, _next_place(scope, COMPACTION), params, body)
        case ModelCancelSuspendedResponseId():
            model_id, response, ctx = cast("tuple[Any, ...]", cache_key)
            return await give_up(attempt, _serving(attempt.model_of(model_id, ctx), ctx), response, body)
        case ToolsetCallToolId():
            tool, arguments, ctx = cast("tuple[str, dict[str, Any], RunContext[Any]]", cache_key[:3])
            if operation_id.toolset_kind == "dynamic":
                body = partial(_if_there, tool, body)
            return await call_tool(attempt, tool, arguments, ctx, body, options)
        case EventStreamHandlerId():
            return await body()
    place = _next_place(scope, what)
    recorded = attempt.journal.note(place.key)
    if recorded is None and isinstance(operation_id, ToolsetGetToolsId | ToolsetGetInstructionsId):
        recorded = _offered(attempt, place)
    result = await run_at(attempt.journal, place, recorded, StepCall(place.name, body, type=Any))
    record_durable_unit(executed=recorded is None)
    return result


def _serving(model: Model, ctx: RunContext[Any]) -> Model:
    """What sends requests in place of `model`, and knows of responses that are still being made."""
    wrapper = None if ctx.root_capability is None else ctx.root_capability.get_wrapper_model(model)
    return model if wrapper is None else wrapper


def _next_place(scope: Scope, name: str) -> Place:
    """The place of the next operation of this name: numbered as the scope's steps are, so that they cannot meet."""
    count = scope.counts.get(name, 0)
    scope.counts[name] = count + 1
    return Place(scope, name, f"{scope.path}{name}#{count}", NOTE)


async def _if_there(tool: str, body: Callable[[], Awaitable[object]]) -> object:
    """`body`, a call of a tool that was made for its turn: one that is not made any more is told to the model."""
    try:
        return await body()
    except UserError as error:
        if not isinstance(error.__cause__, KeyError):
            raise
        return {"kind": "tool_failed", "message": f"The tool {tool!r} is not there any more."}


def _offered(attempt: Attempt, place: Place) -> Step | None:
    """What a toolset offered in the last turn before a recorded one in which it was asked."""
    if place.scope is not attempt.scope or not attempt.conversation.replays:
        return None
    for turn in reversed(range(1, attempt.conversation.turn)):
        step = attempt.journal.note(f"turn-{turn}/{place.key.removeprefix(place.scope.path)}")
        if step is not None and step.state is StepState.DONE:
            return step
    return None
