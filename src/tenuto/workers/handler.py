"""What a task agent must offer so that a worker can run its tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tenuto.errors import InvalidInput
from tenuto.observability.logging import logger
from tenuto.tasks.lease import Lease
from tenuto.tasks.limits import Limit
from tenuto.tasks.retry import RetryPolicy

if TYPE_CHECKING:
    from tenuto.workers.context import Context

__all__ = ["CannotServe", "Handler", "check_able", "limits_of", "preload_of", "retry_of", "serving"]

log = logger("tenuto.worker")


class CannotServe(InvalidInput):
    """A worker lacks what each of its agents needs, and would lack it still if it were started again."""


class Handler(Protocol):
    """A task agent, as a worker sees it: a name, a version, and one coroutine."""

    @property
    def name(self) -> str:
        """The agent name that tasks are addressed to."""

    @property
    def version(self) -> str:
        """What the author declared, or "". A journal that another version wrote is refused."""

    async def handle(self, context: Context, lease: Lease) -> Any:
        """Carries out one attempt and returns the task's result: anything that `tasks.values` can encode.

        An exception is a failed attempt; the task's retry policy says what it means. Cancellation
        (`asyncio.CancelledError`) means that the attempt is over: stop at once. `lease.payload` is the whole payload,
        also where it is stored apart.
        """


def limits_of(handler: Handler) -> tuple[Limit, ...]:
    """The limits that an agent brings along (its attribute `limits`): its workers put them into the store."""
    return tuple(getattr(handler, "limits", ()))


def retry_of(handler: Handler) -> RetryPolicy | None:
    """How an agent wants its tasks retried (its attribute `retry`), where they do not say so themselves."""
    policy: RetryPolicy | None = getattr(handler, "retry", None)
    return policy


def preload_of(handler: Handler) -> tuple[str, ...]:
    """Modules that an agent's workers find imported (its attribute `preload`): those that are slow to import. Of
    `module:function`, that was called as well: what else is slow to begin with."""
    return tuple(getattr(handler, "preload", ()))


def check_able(handler: Handler) -> None:
    """Raises `InvalidInput` where it is known ahead of all workers that they could not serve the agent (its method
    `check_able`): where a key is missing, for example."""
    check = getattr(handler, "check_able", None)
    if check is not None:
        check()


@asynccontextmanager
async def serving(handlers: Mapping[str, Handler]) -> AsyncIterator[Mapping[str, Handler]]:
    """The agents that this worker can serve, as it serves them: what their method `serving`, an asynchronous context,
    gives, which holds connections to their providers, for example.

    An agent whose method raises lacks something here. It is left out: its tasks stay ready, for other workers or better
    times. Where all are left out, raises `CannotServe`, or what the first has raised that may pass by itself.
    """
    async with AsyncExitStack() as stack:
        served: dict[str, Handler] = {}
        lacking: dict[str, Exception] = {}
        for name, handler in handlers.items():
            held = getattr(handler, "serving", None)
            try:
                served[name] = handler if held is None else await stack.enter_async_context(held())
            except Exception as error:  # noqa: BLE001 - it is told, and the other agents are served
                lacking[name] = error
        if not served:
            passing = [error for error in lacking.values() if not isinstance(error, InvalidInput)]
            raise passing[0] if passing else CannotServe("; ".join(map(str, lacking.values())))
        for name, lack in lacking.items():
            log.error("an agent is not served here: its tasks wait for another worker", agent=name, why=str(lack))
        yield served
