"""Task agents that are plain functions.

    @tenuto.task_agent
    async def resize(ctx: Context, photo: Photo) -> Size: ...

    task = resize.create_task(owner_id="ann", payload=Photo("cat.png"), deadline=...)

The function takes nothing, the payload, or the context and the payload. A first parameter named `ctx` or `context`, or
annotated as `Context`, gets the context; the next one gets the payload, decoded as it is annotated (a dataclass,
a msgspec or Pydantic model, any JSON type). The verbs of the context are coroutines, so a function that takes it must
be an `async def`. Any other function may also be a plain `def`: it runs in a thread.

The agent can be called like the function it was made from, for tests and for use without any store.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

import msgspec

from tenuto.agents.base import TaskAgent, TaskOptions, load
from tenuto.errors import InvalidInput, InvalidPayload, Unstorable
from tenuto.tasks.lease import Lease
from tenuto.tasks.values import decode
from tenuto.workers.annotations import hints_of
from tenuto.workers.context import Context

__all__ = ["FunctionAgent", "task_agent"]

P = ParamSpec("P")
R = TypeVar("R")


class FunctionAgent(TaskAgent, Generic[P, R]):
    """A function under a name that tasks can be addressed to. Made by `task_agent`."""

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        if not callable(fn):
            raise InvalidInput(f"a task agent is made from a function, not from {type(fn).__name__}")
        self.fn = fn
        super().__init__(
            str(getattr(fn, "__name__", type(fn).__name__)) if name is None else name,
            **options,
        )
        self._plan: _Plan | None = None
        _shape(self.name, fn)
        functools.update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function itself; nothing is stored."""
        return self.fn(*args, **kwargs)

    async def handle(self, context: Context, lease: Lease) -> Any:
        """Carries out one attempt: see `workers.handler`."""
        plan = self._plan
        if plan is None:
            plan = self._plan = _Plan(self.name, self.fn)
        return await plan.run(context, lease)

    def __reduce__(self) -> tuple[Any, ...]:
        # To other processes by name where it can be found there, else the function itself travels (cloudpickle).
        module, path = getattr(self.fn, "__module__", ""), getattr(self.fn, "__qualname__", "")
        if module != "__main__" and _find(module, path) is self:
            return load, (module, path)
        state = {key: value for key, value in self.__dict__.items() if key not in ("_plan", "__wrapped__")}
        return _bare, (), state | {"_plan": None, "__wrapped__": self.fn}


class _Plan:
    """How the function is called, worked out once."""

    def __init__(self, name: str, fn: Callable[..., Any]) -> None:
        self._name = name
        self._fn = fn
        self._takes_context, payload = _shape(name, fn)
        self._takes_payload = payload is not None
        self._sync = not _is_coroutine_function(fn)
        kind = Any if payload is None else _annotation(fn, payload)
        self._kind = kind
        self._decoder = None if hasattr(kind, "model_validate_json") else _decoder(kind, name)

    def run(self, context: Context, lease: Lease) -> Awaitable[Any]:
        args: tuple[Any, ...] = (context,) if self._takes_context else ()
        if self._takes_payload:
            args = (*args, self._payload(lease))
        if self._sync:
            return _in_thread(context, functools.partial(self._fn, *args))
        return self._fn(*args)  # type: ignore[no-any-return]  # a coroutine function

    def _payload(self, lease: Lease) -> Any:
        try:
            if self._decoder is not None:
                return self._decoder.decode(lease.payload)
            return decode(bytes(lease.payload), self._kind)
        except (msgspec.MsgspecError, Unstorable) as error:
            raise InvalidPayload(
                f"the payload of task {lease.task_id!r} does not fit agent {self._name!r}: {error}"
            ) from None


async def _in_thread(context: Context, call: Callable[[], Any]) -> Any:
    result = await context.services.threads.run(call)
    return await result if inspect.isawaitable(result) else result


def _is_coroutine_function(fn: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _shape(name: str, fn: Callable[..., Any]) -> tuple[bool, inspect.Parameter | None]:
    """Whether `fn` takes the context, and its parameter for the payload. Raises `InvalidInput` for other shapes."""
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise InvalidInput(f"agent {name!r} is a generator: a task agent returns one result")
    try:
        given = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        raise InvalidInput(f"agent {name!r}: the parameters of {fn!r} cannot be read; wrap it in a function") from None
    positional = [each for each in given if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    takes_context = bool(positional) and _is_context(positional[0])
    rest = positional[1:] if takes_context else positional
    if len([each for each in rest if each.default is each.empty]) > 1 or any(
        each.kind is each.KEYWORD_ONLY and each.default is each.empty for each in given
    ):
        raise InvalidInput(
            f"agent {name!r} takes too many parameters: a task agent takes nothing, the payload, or the context and "
            "the payload; put more values into one payload"
        )
    if takes_context and not _is_coroutine_function(fn):
        raise InvalidInput(
            f"agent {name!r} takes the context, whose verbs are coroutines: make it an `async def`, "
            "or drop the parameter"
        )
    return takes_context, rest[0] if rest else None


def _is_context(parameter: inspect.Parameter) -> bool:
    note = parameter.annotation
    if note is parameter.empty:
        return parameter.name in ("ctx", "context")
    return note is Context or (isinstance(note, str) and note.strip("'\"").rpartition(".")[2] == "Context")


def _annotation(fn: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    note = parameter.annotation
    if note is parameter.empty:
        return Any
    return hints_of(fn).get(parameter.name, Any if isinstance(note, str) else note)


def _decoder(kind: Any, name: str) -> msgspec.json.Decoder[Any]:
    try:
        return msgspec.json.Decoder(kind)
    except TypeError as error:
        raise InvalidInput(f"agent {name!r}: no payload can be read as {kind!r}: {error}") from None


def _find(module: str, path: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _bare() -> FunctionAgent[..., Any]:
    return FunctionAgent.__new__(FunctionAgent)


@overload
def task_agent(fn: Callable[P, R], /) -> FunctionAgent[P, R]: ...


@overload
def task_agent(
    *,
    name: str | None = None,
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R]], FunctionAgent[P, R]]: ...


def task_agent(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a task agent of a function; used with or without options.

    name: what tasks are addressed to; the function's own name unless given. version: declared by hand when a change of
    the function does not fit journals that exist: those are then refused and their tasks paused. retry, max_retries:
    the retry policy of its tasks. timeout: most seconds from a task's first claim to its end, waiting for people not
    counted. attempt_timeout: most seconds for one attempt. limits: keys of limits its tasks are subject to.
    concurrency: how many of its tasks run at once, over all workers. rate: how many begin per second, or
    `(count, seconds)`.

    Raises `InvalidInput` when the function's parameters do not fit.
    """
    if fn is not None:
        return FunctionAgent(fn, **options)
    return lambda wrapped: FunctionAgent(wrapped, **options)
