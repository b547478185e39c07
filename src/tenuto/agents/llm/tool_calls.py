"""Running a tool: one entry of the journal per call, run again or not as the tool's effect says.

A tool may use the verbs of the task's context (`current_context()`): its steps lie in a scope of their own. Where it
waits (for children, an event, a time), the other calls of the turn end first; then the task waits in the store, and the
tool is run from its start when it goes on, with its steps answered by the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_ai import ApprovalRequired, CallDeferred
from pydantic_ai.durable_exec import record_durable_unit
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.current import CALL, TOOLS
from tenuto.agents.llm.deferred import announce, is_for_approval
from tenuto.agents.llm.failures import told
from tenuto.agents.llm.recorded_calls import on_record
from tenuto.agents.llm.tools import ToolOptions
from tenuto.errors import InvalidInput
from tenuto.tasks.calls import call_name
from tenuto.tasks.outcome import StepState
from tenuto.tasks.turns import tool_return
from tenuto.workers.failures import placed
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
    key, recorded = await on_record(journal, f"{scope.path}{name}", approved=ctx.tool_call_approved)
    attempt.asked.add(call_id)
    if recorded is None and not ctx.tool_call_approved and await is_for_approval(journal, call_id):
        raise ApprovalRequired  # as somebody was told, whatever the tool needs now
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
        with _under_way(attempt, once=options.effect == "once"):
            result = await run_at(journal, place, recorded, call)
    except Suspended as suspended:
        attempt.suspensions[call_id] = suspended.wait
        raise CallDeferred from suspended
    except Exception as error:
        placed(error, attempt.context.task_id, f"{attempt.who}, tool {name!r}")
        # What runs beside a tool that fails is cancelled: nobody would know what became of one that runs only once.
        while attempt.once_only:
            await asyncio.wait(attempt.once_only)
        raise
    record_durable_unit(executed=not done)
    return result


@contextlib.contextmanager
def _under_way(attempt: Attempt, *, once: bool) -> Iterator[None]:
    """A call runs inside; others may wait for the end of one that runs only once."""
    over = asyncio.get_running_loop().create_future()
    if once:
        attempt.once_only.add(over)
    try:
        yield
    finally:
        attempt.once_only.discard(over)
        over.cancel()


def _inside(
    attempt: Attempt, scope: Scope, place: Place, body: Callable[[], Awaitable[object]], *, once: bool
) -> Callable[[], Awaitable[object]]:
    """`body` in a scope of its own, which knows its idempotency key."""

    async def run() -> object:
        tokens: list[tuple[contextvars.ContextVar[Any], contextvars.Token[Any]]] = [
            (CURRENT, CURRENT.set(scope)),
            (CALL, CALL.set(idempotency_key(attempt.journal, place))),
            (TOOLS, TOOLS.set((*TOOLS.get(), place.name))),
        ]
        result: object = None
        try:
            result = await body()
        except BaseException as error:
            if scope.suspended is None:
                instead = told(attempt, error) if isinstance(error, Exception) else None
                if instead is None:
                    raise
                raise instead from error
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
                return "done", tool_return(msgspec.to_builtins(value))
        return verdict

    return decide
