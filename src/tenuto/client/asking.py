"""One line for scripts and tests: a task is submitted, and its result waited for."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, overload

from tenuto.client.reading import Reading
from tenuto.client.submitting import Submitting
from tenuto.tasks.task import TaskSpec

__all__ = ["Asking"]

T = TypeVar("T")


class _MakesTasks(Protocol):
    @property
    def name(self) -> str: ...

    def create_task(self, owner_id: str, payload: Any, *, id: str | None) -> TaskSpec: ...


class Asking(Submitting, Reading):
    """The verb that does all of it."""

    @overload
    async def ask(
        self,
        agent: _MakesTasks,
        payload: Any,
        *,
        owner_id: str = "",
        id: str | None = None,
        timeout: float | None = None,
    ) -> Any: ...
    @overload
    async def ask(
        self,
        agent: _MakesTasks,
        payload: Any,
        *,
        owner_id: str = "",
        id: str | None = None,
        timeout: float | None = None,
        type: type[T],
    ) -> T: ...
    async def ask(
        self,
        agent: _MakesTasks,
        payload: Any,
        *,
        owner_id: str = "",
        id: str | None = None,
        timeout: float | None = None,
        type: Any = Any,
    ) -> Any:
        """Submits a task for `agent`, waits until it is done, and returns its result: `enqueue_task` and
        `get_task_result` in one. Some worker has to serve the agent, such as one of `register_runner`.

        id: of the task; asking again under it returns the same result, and nothing runs twice.
        timeout: the most seconds to wait; the task goes on. type: the type to give the result.
        Raises what those two raise.
        """
        task_id = await self.enqueue_task(agent, agent.create_task(owner_id, payload, id=id))
        return await self.get_task_result(task_id, timeout, type=type)
