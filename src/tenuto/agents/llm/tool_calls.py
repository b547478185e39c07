"""Running a tool: one entry of the journal per call, run again or not as the tool's effect says.

A tool may use the verbs of the task's context (`current_context()`): its steps lie in a scope of their own. Where it
waits (for children, an event, a time), the other calls of the turn end first; then the task waits in the store, and the
tool is run from its start when it goes on, with its steps answered by the journal.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_ai import CallDeferred
from pydantic_ai.durable_exec import record_durable_unit
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.current import CALL
from tenuto.agents.llm.deferred import announce
from tenuto.agents.llm.tools import ToolOptions
from tenuto.errors import InvalidInput
from tenuto.tasks.calls import call_name
from tenuto.tasks.outcome import StepState
from tenuto.workers.interruption import Suspended
from tenuto.workers.scopes import CURRENT, NOTE, Place, Scope
from tenuto.workers.steps import StepCall, idempotency_key, run_at

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["call_tool"]


async def call_tool(
    attempt: Attempt,
    name: str,
    arguments: Any,
    ctx: RunContext[Any],
    body: Callable[[], Awaitable[object]],
    options: ToolOptions,
) -> object:
    """The recorded form of what the tool `name` gave for this call; runs it when the journal has nothing."""
    journal = attempt.journal
    call_id = ctx.tool_call_id or name
    scope = Scope(journal, f"{attempt.here.path}{call_name(call_id)}/")
    key = f"{scope.path}{name}" + ("@approved" if ctx.tool_call_approved else "")
    recorded = journal.note(key)
    place = Place(scope, name, key, NOTE)
    done = recorded is not None and recorded.state is not StepState.STARTED
    if options.deferred and not done:
        await announce(journal, scope, call_id, name, arguments, options.expires)
    call = StepCall(
        name,
        _inside(attempt, scope, place, body, once=options.effect == "once"),
        effect=options.effect,
        reconcile=_recorded_form(options.reconcile),
        type=Any,
        retry=options.retry,
        timeout=options.timeout,
        early=options.effect != "once" and attempt.conversation.one_call,
    )
    try:
        result = await run_at(journal, place, recorded, call)
    except Suspended as suspended:
        attempt.suspensions[call_id] = suspended.wait
        raise CallDeferred from suspended
    record_durable_unit(executed=not done)
    return result


def _inside(
    attempt: Attempt, scope: Scope, place: Place, body: Callable[[], Awaitable[object]], *, once: bool
) -> Callable[[], Awaitable[object]]:
    """`body` in a scope of its own, which knows its idempotency key."""

    async def run() -> object:
        tokens: list[tuple[contextvars.ContextVar[Any], contextvars.Token[Any]]] = [
            (CURRENT, CURRENT.set(scope)),
            (CALL, CALL.set(idempotency_key(attempt.journal, place))),
        ]
        result: object = None
        try:
            result = await body()
        except BaseException:
            if scope.suspended is None:
                raise
        finally:
            for variable, token in reversed(tokens):
                variable.reset(token)
        if scope.suspended is None:
            return result
        # Also where the tool has swallowed that, or wrapped it in a group of exceptions.
        if once:
            raise InvalidInput(
                f"tool {place.name!r} may run only once, so it cannot wait through its context: drop effect='once'"
                " and make what has the effect a step of its own"
            )
        raise scope.suspended

    return run


def _recorded_form(reconcile: Callable[[str], Any] | None) -> Callable[[str], Any] | None:
    """What a tool's own `reconcile` says, with a value in the form in which the journal keeps a tool's result."""
    if reconcile is None:
        return None

    async def decide(key: str) -> Any:
        verdict = reconcile(key)
        verdict = await verdict if isinstance(verdict, Awaitable) else verdict
        match verdict:
            case ("done", value):
                return "done", {"kind": "tool_return", "result": msgspec.to_builtins(value)}
        return verdict

    return decide
