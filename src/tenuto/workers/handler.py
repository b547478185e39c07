"""What a task agent must offer so that a worker can run its tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tenuto.tasks.lease import Lease
from tenuto.tasks.limits import Limit
from tenuto.tasks.retry import RetryPolicy

if TYPE_CHECKING:
    from tenuto.workers.context import Context

__all__ = ["Handler", "limits_of", "preload_of", "retry_of", "serving"]


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
    """Modules that an agent's workers find imported (its attribute `preload`): those that are slow to import."""
    return tuple(getattr(handler, "preload", ()))


@asynccontextmanager
async def serving(handlers: Iterable[Handler]) -> AsyncIterator[None]:
    """What agents hold while a worker serves them (their method `serving`, an asynchronous context): connections to
    their providers, for example."""
    async with AsyncExitStack() as stack:
        for handler in handlers:
            held = getattr(handler, "serving", None)
            if held is not None:
                await stack.enter_async_context(held())
        yield
