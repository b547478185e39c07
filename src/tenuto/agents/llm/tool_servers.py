"""Tools of MCP servers: what becomes of a call whose server is away.

    agent = Agent("clerk", toolsets=[MCPToolset("http://127.0.0.1:8000/mcp", id="shop")])

What a server offers and what its tools return goes into the journal as with all other tools. What a tool itself
reports as an error is told to the model. A server that does not answer is nothing that a model could help with: the
attempt ends, and the task is retried as its policy says.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic_ai.durable_exec import DurableOperationId
from pydantic_ai.exceptions import AgentRunError, ApprovalRequired, CallDeferred, ModelRetry, ToolFailed, UserError

from tenuto.agents.llm.current import ATTEMPT
from tenuto.errors import TenutoError, Unreachable

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["naming_servers", "reaching"]

_TOLD = (AgentRunError, ApprovalRequired, CallDeferred, ModelRetry, ToolFailed, UserError, TenutoError)
"""Not about the connection: for the library, or for the task."""


def reaching(
    operation_id: DurableOperationId, body: Callable[[], Awaitable[object]]
) -> Callable[[], Awaitable[object]]:
    """`body`, which raises `Unreachable` with the server's id where it is an operation of an MCP server and that does
    not answer."""
    if getattr(operation_id, "toolset_kind", None) != "mcp":
        return body
    return functools.partial(_reached, getattr(operation_id, "toolset_id", ""), body)


async def _reached(server: str, body: Callable[[], Awaitable[object]]) -> object:
    try:
        return await body()
    except _TOLD:
        raise
    except Exception as error:
        sentence = f"the MCP server {server!r} does not answer: {type(error).__name__}: {error}"[:1000]
        lost = Unreachable(sentence)
        attempt = ATTEMPT.get()
        if attempt is not None:
            attempt.lost_server = lost
        raise lost from error


@contextmanager
def naming_servers(attempt: Attempt) -> Iterator[None]:
    """Closing the connection to a lost server fails, too: that does not hide which server was lost."""
    try:
        yield
    except _TOLD:
        raise
    except Exception:
        if attempt.lost_server is None:
            raise
        raise attempt.lost_server from attempt.lost_server.__cause__
