"""Submitting: single tasks, batches, goals, and the schedules that submit by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol

from msgspec.structs import replace

from tenuto.client.connection import Connection
from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.plans import GoalBuilder, tree_of
from tenuto.stores.base import Submission, Verdict
from tenuto.tasks.blobs import references
from tenuto.tasks.clock import duration
from tenuto.tasks.goal import Tree
from tenuto.tasks.schedules import CatchUp, Schedule
from tenuto.tasks.task import TaskSpec

__all__ = ["Named", "Submitting"]

_MOST_TREES = 500
_MOST_BYTES = 4 * 1024 * 1024


class Named(Protocol):
    """An agent, as far as addressing a task to it goes."""

    @property
    def name(self) -> str: ...


class Submitting(Connection):
    """The verbs that bring work in. Doing one again with the same content does nothing more."""

    async def enqueue_task(self, agent: Named | str | None, task: TaskSpec, *, connection: Any = None) -> str:
        """Submits a task and returns its id: that of the stored one where the same was submitted before.

        agent: who shall run it, as an object or by name; None where `task` says it. No worker has to be alive: the
        task waits for one, and `why` says so.
        connection: your own, with an open transaction, to the database of an SQL engine: the task exists when and only
        when you commit. See `Store.submit`.

        The id differs from `task.id` only when the idempotency key or unique key of `task` was there already.
        Raises `Conflict` when its id or idempotency key was used for something else, `InvalidInput` for a task that
        cannot be accepted, `TooLarge`.
        """
        return (await self._submit([tree_of(_addressed(agent, task))], connection))[0]

    async def enqueue_batch(
        self, agent: Named | str | None, tasks: Iterable[TaskSpec], *, connection: Any = None
    ) -> list[str]:
        """Submits many tasks and returns their ids in order; see `enqueue_task`.

        Each task is accepted or refused for itself. Where some are refused the error names the first and says how
        many; the others are stored, and submitting all of them again changes nothing about those.
        """
        if isinstance(tasks, TaskSpec):
            raise InvalidInput("tasks must be a list of tasks: for a single one there is enqueue_task")
        specs = [_addressed(agent, task) for task in tasks]
        ids: list[str] = []
        refused: list[Submission] = []
        chunk: list[Tree] = []
        size = 0
        for number, spec in enumerate(specs, 1):
            chunk.append(tree_of(spec))
            size += len(bytes(spec.payload))
            if len(chunk) == _MOST_TREES or size >= _MOST_BYTES or number == len(specs):
                answers = await (await self._ready()).submit(chunk, connection=connection)
                ids += [answer.task_id for answer in answers]
                refused += [answer for answer in answers if answer.verdict in _REFUSALS]
                chunk, size = [], 0
        if refused:
            others = f" ({len(refused):,} of {len(specs):,} were not accepted)" if len(specs) > 1 else ""
            raise _error(refused[0], others)
        return ids

    async def submit_goal(self, goal: GoalBuilder | Tree, *, connection: Any = None) -> str:
        """Submits a goal whole or not at all, and returns its id; see `enqueue_task`. `get_goal` shows its tasks."""
        tree = goal.tree() if isinstance(goal, GoalBuilder) else goal
        if not isinstance(tree, Tree):
            raise InvalidInput(f"goal must be what tenuto.goal(...) returned, not {type(goal).__name__}")
        return (await self._submit([tree], connection))[0]

    async def put_schedule(
        self,
        name: str,
        task: TaskSpec,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        zone: str = "UTC",
        catch_up: CatchUp | str = CatchUp.LATEST,
        paused: bool = False,
    ) -> Schedule:
        """Creates or replaces a schedule, and returns it with the next instant at which it fires.

        task: what it submits, under the id `<name>@<instant>`.
        cron: five fields, read in the time zone `zone`; or every: an interval in whole seconds.
        catch_up: what happens about instants that passed while nothing ran: `latest`, `all` or `none`.

        Raises `InvalidInput` that says what is wrong with the rule.
        """
        if not isinstance(task, TaskSpec):
            raise InvalidInput(f"task must be what agent.create_task(...) returned, not {type(task).__name__}")
        if references(bytes(task.payload)):
            raise InvalidInput(
                f"schedule {name!r}: payloads of the forms {{'$blob': …}} and {{'$parts': …}} are reserved"
            )
        try:
            caught_up = CatchUp(catch_up)
        except ValueError:
            raise InvalidInput(f"catch_up must be 'latest', 'all' or 'none', not {catch_up!r}") from None
        schedule = Schedule(
            name=name,
            task=task,
            cron=cron,
            zone=zone,
            every=None if every is None else duration(every, "every"),
            catch_up=caught_up,
            paused=paused,
        )
        return await (await self._ready()).put_schedule(schedule.check())

    async def list_schedules(self) -> Sequence[Schedule]:
        """All schedules, by name."""
        return await (await self._ready()).schedules()

    async def delete_schedule(self, name: str) -> None:
        """Removes a schedule; what it has submitted stays. Raises `NotFound`."""
        if not await (await self._ready()).delete_schedule(name):
            raise NotFound(f"there is no schedule {name!r}")

    async def _submit(self, trees: Sequence[Tree], connection: Any) -> list[str]:
        answers = await (await self._ready()).submit(trees, connection=connection)
        for answer in answers:
            if answer.verdict in _REFUSALS:
                raise _error(answer)
        return [answer.task_id for answer in answers]


_REFUSALS = frozenset({Verdict.CONFLICT, Verdict.REFUSED})


def _error(answer: Submission, others: str = "") -> Conflict | InvalidInput:
    kind = Conflict if answer.verdict is Verdict.CONFLICT else InvalidInput
    return kind(f"{answer.detail or f'task {answer.task_id!r} was not accepted'}{others}")


def _addressed(agent: Named | str | None, task: TaskSpec) -> TaskSpec:
    if not isinstance(task, TaskSpec):
        raise InvalidInput(f"task must be what agent.create_task(...) returned, not {type(task).__name__}")
    name = agent if isinstance(agent, str) else "" if agent is None else getattr(agent, "name", None)
    if not isinstance(name, str):
        raise InvalidInput(f"agent must be an agent or its name, not {type(agent).__name__}")
    if task.agent:
        if name and name != task.agent:
            raise InvalidInput(f"task {task.id!r} was created for the agent {task.agent!r}, not for {name!r}")
        return task
    if not name:
        raise InvalidInput(f"task {task.id!r} names no agent: say who shall run it")
    return replace(task, agent=name)
