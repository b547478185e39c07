"""What the running code belongs to: the attempt, seen from inside a tool, a hook or a capability."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from tenuto.errors import InvalidInput

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt
    from tenuto.workers.context import Context

__all__ = ["ATTEMPT", "CALL", "TOOLS", "current_context", "idempotency_key"]

ATTEMPT: ContextVar[Attempt | None] = ContextVar("tenuto_attempt", default=None)
"""The attempt whose conversation is running; None outside a task."""

CALL: ContextVar[str | None] = ContextVar("tenuto_tool_call", default=None)
"""The idempotency key of the tool call that is running."""

TOOLS: ContextVar[tuple[str, ...]] = ContextVar("tenuto_tools", default=())
"""The tools that are running, by name: more than one where an agent runs inside a tool."""


def current_context() -> Context:
    """The context of the task that the calling tool works for: steps, children, waits, progress.

    What a tool does through it is remembered by the journal, as in a function agent. Raises `InvalidInput` outside a
    task.
    """
    attempt = ATTEMPT.get()
    if attempt is None:
        raise InvalidInput("current_context() is for the tools and hooks of an agent that works on a task")
    return attempt.context


def idempotency_key() -> str:
    """A text that is the same whenever this very tool call is run: for services that refuse a second one.

    Raises `InvalidInput` outside a tool call of a task.
    """
    key = CALL.get()
    if key is None:
        raise InvalidInput("idempotency_key() is for the tools of an agent that works on a task")
    return key
