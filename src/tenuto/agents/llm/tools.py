"""What a tool says about itself: what becomes of a call whose worker dies, how long it may take, who answers it.

    @tool(effect="once", reconcile=find_payment)
    def pay(invoice: str, cents: int) -> str: ...

    @tool(requires_approval=True, expires=3600)
    def delete(path: str) -> str: ...

    @deferred(timeout=86_400)
    async def ask_lawyer(ctx: RunContext[AgentContext], question: str) -> None:
        await post(question, reply_to=(current_context().task_id, ctx.tool_call_id))

Plain functions need none of this: they are `idempotent`, that is, a call that was in flight when its worker died runs
again. See `workers.steps` for the effects.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, overload

from pydantic_ai import CallDeferred, Tool

from tenuto.errors import InvalidInput
from tenuto.tasks.retry import RetryPolicy
from tenuto.workers.steps import Effect

__all__ = ["METADATA", "SMALLEST", "ToolOptions", "deferred", "made_tool", "options_of", "tool"]

SMALLEST = 1_000
"""Characters of a result that the model is given at least: a smaller limit leaves nothing to read."""

METADATA = "tenuto"
"""The key of a tool's metadata under which its options lie."""

F = TypeVar("F", bound=Callable[..., Any])


class ToolSettings(TypedDict, total=False):
    """The options of a tool as its metadata carry them: see `tool`."""

    effect: Effect
    reconcile: Callable[[str], Any] | None
    timeout: float | None
    retry: RetryPolicy | None
    deferred: bool
    expires: float | None
    result_limit: int | None


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """How a tool is run."""

    effect: Effect = "idempotent"
    reconcile: Callable[[str], Any] | None = None
    timeout: float | None = None
    retry: RetryPolicy | None = None
    deferred: bool = False
    """somebody else answers the call"""
    expires: float | None = None
    """seconds that an answer or an approval may take"""
    result_limit: int | None = None
    """characters of a result that the model is given at once; None: as many as the agent's `tool_result_limit` says"""


def options_of(metadata: Mapping[str, Any] | None, name: str) -> ToolOptions:
    """The options in a tool's metadata. Raises `InvalidInput` that names the tool."""
    found = (metadata or {}).get(METADATA)
    if not found:
        return _PLAIN
    try:
        return ToolOptions(**found)
    except TypeError as error:
        raise InvalidInput(f"tool {name!r} has metadata under {METADATA!r} that make no sense: {error}") from None


_PLAIN = ToolOptions()


class FunctionTool(Tool[Any]):
    """A tool that can be called as the function that it was made of."""

    def standing_for(self, written: Callable[..., Any]) -> FunctionTool:
        """Itself, called as `written`."""
        self._written = written
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives: plainly called, with no task and nothing recorded."""
        return self._written(*args, **kwargs)


def made_tool(given: Any) -> Tool[Any]:
    """`given`, a tool or a function, as a tool: its annotations are read here, where all that they name is known."""
    return given if isinstance(given, Tool) else Tool(given)


@overload
def tool(fn: Callable[..., Any], /) -> FunctionTool: ...


@overload
def tool(
    *,
    name: str | None = None,
    effect: Effect = "idempotent",
    reconcile: Callable[[str], Any] | None = None,
    timeout: float | None = None,
    retry: RetryPolicy | None = None,
    requires_approval: bool = False,
    expires: float | None = None,
    result_limit: int | None = None,
    **others: Any,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def tool(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a tool of a function; used with or without options.

    name: as the model calls it; the function's own unless given. effect, reconcile: what may happen when the worker
    dies during the call, see `Context.step`. timeout: most seconds for one try. retry: repeats a failing call here and
    now. requires_approval: a person decides about each call before it runs. expires: seconds after which an approval
    that has not come counts as denied. result_limit: characters of a result, or an answer, that the model is given at
    once, in place of the agent's `tool_result_limit`; it can read on. Others go to `pydantic_ai.Tool`.

    The tool is called as the function was, by other code and by tests: nothing is recorded then.
    Raises `InvalidInput` when the options do not go together.
    """
    if fn is not None:
        return _tool(fn, options)
    return lambda wrapped: _tool(wrapped, options)


def _tool(fn: Callable[..., Any], options: dict[str, Any], written: Callable[..., Any] | None = None) -> FunctionTool:
    settings = {key: options.pop(key) for key in ToolSettings.__annotations__ if key in options}
    _check(options.get("name") or fn.__name__, settings)
    metadata = {**options.pop("metadata", {}), METADATA: settings}
    return FunctionTool(fn, metadata=metadata, **options).standing_for(written or fn)


def _check(name: str, settings: Mapping[str, Any]) -> None:
    if settings.get("effect", "idempotent") not in ("idempotent", "pure", "once"):
        raise InvalidInput(f"tool {name!r}: effect must be idempotent, pure or once, not {settings['effect']!r}")
    if settings.get("reconcile") is not None and settings.get("effect") != "once":
        raise InvalidInput(f"tool {name!r}: reconcile is only asked about tools with effect='once'")
    for field in ("timeout", "expires"):
        value = settings.get(field)
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise InvalidInput(f"tool {name!r}: {field} must be more than 0 seconds, not {value!r}")
    limit = settings.get("result_limit")
    if limit is not None and (type(limit) is not int or limit < SMALLEST):
        raise InvalidInput(f"tool {name!r}: result_limit must be a whole number from {SMALLEST:,}, not {limit!r}")


@overload
def deferred(fn: Callable[..., Any], /) -> FunctionTool: ...


@overload
def deferred(*, timeout: float | None = None, **options: Any) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def deferred(fn: Callable[..., Any] | None = None, /, *, timeout: float | None = None, **options: Any) -> Any:
    """Makes a tool whose result somebody else delivers, with `complete_deferred_tool(task_id, tool_call_id, result)`.

    The function only sends the question on its way; what it returns is dropped. Then the task waits in the store, with
    no process attached. timeout: seconds after which the model is told that no answer came; None waits for ever, which
    `why` shows. Others as for `tool`.
    """
    if fn is None:
        return lambda wrapped: _deferred(wrapped, timeout, options)
    return _deferred(fn, timeout, options)


def _deferred(fn: Callable[..., Any], timeout: float | None, options: dict[str, Any]) -> FunctionTool:
    if options.get("requires_approval"):
        raise InvalidInput(f"tool {fn.__name__!r}: somebody answers a deferred call, so nobody can approve it as well")
    return _tool(_asking(fn), {**options, "deferred": True, "expires": timeout}, fn)


def _asking(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `fn`, then defers the call."""
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def ask(*args: Any, **kwargs: Any) -> None:
            await fn(*args, **kwargs)
            raise CallDeferred

        return ask

    @functools.wraps(fn)
    def ask_in_thread(*args: Any, **kwargs: Any) -> None:
        fn(*args, **kwargs)
        raise CallDeferred

    return ask_in_thread
