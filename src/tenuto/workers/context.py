"""What a task's function gets as `ctx`: who it is, and the verbs that its journal remembers.

    @task_agent
    async def order(ctx: Context, cart: Cart) -> Receipt:
        price = await ctx.step("price", quote, cart)
        await ctx.step("charge", charge, price, effect="once", reconcile=find_charge)
        parcel = await ctx.spawn(ship.create_task(payload=cart))
        await ctx.wait_for(parcel, timeout=86_400)
        ...

When the worker dies, the function is run again from the start by another one; every verb that was recorded answers from
the journal and does nothing. So whatever has an effect, or may differ from one run to the next (time, chance, the
network), belongs into a step; the code between the steps must do the same each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from tenuto.errors import InvalidInput
from tenuto.observability.logging import logger
from tenuto.tasks.lease import Lease
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.waits import answer_topic, event_topic
from tenuto.workers import children, dependencies, steps, waiting
from tenuto.workers.children import Child, ChildResult, Need
from tenuto.workers.journal import Journal
from tenuto.workers.services import Services
from tenuto.workers.steps import Effect, StepCall
from tenuto.workers.telling import tell

__all__ = ["Child", "ChildResult", "Context"]

T = TypeVar("T")


class Context:
    """One attempt at one task, as its function sees it."""

    __slots__ = ("_journal", "_version", "lease", "services")

    def __init__(self, lease: Lease, services: Services, version: str) -> None:
        self.lease = lease
        self.services = services
        self._version = version
        self._journal: Journal | None = None

    # -- who it is -----------------------------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.lease.task_id

    @property
    def root_id(self) -> str:
        """The id of its tree: of its goal, or of the task at the top."""
        return self.lease.root

    @property
    def owner_id(self) -> str:
        """Whose task it is."""
        return self.lease.owner

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was submitted with the task besides its payload; of a scheduled one also `schedule` and `instant`."""
        return self.lease.metadata

    @property
    def attempt(self) -> int:
        """How often the task was claimed, this time included."""
        return self.lease.attempt

    @property
    def run(self) -> int:
        """From 1; rises when the finished task is asked to run again."""
        return self.lease.run

    @property
    def turn_timeout(self) -> float:
        """Most seconds for one turn of an agent that works in turns."""
        return self.services.turn_timeout

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A logger that names the task; see `observability.logging` for where it goes."""
        lease = self.lease
        return logger("tenuto.task").bind(task=lease.task_id, agent=lease.agent, attempt=lease.attempt)

    @property
    def journal(self) -> Journal:
        """The task's journal; made when it is first needed, for most tasks never need one."""
        if self._journal is None:
            self._journal = Journal(self.lease, self.services, self._version)
        return self._journal

    @property
    def keeps_journal(self) -> bool:
        """Whether the journal was needed so far."""
        return self._journal is not None

    # -- steps ---------------------------------------------------------------------------------------------

    async def step(
        self,
        name: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        effect: Effect = "idempotent",
        reconcile: Callable[[str], Any] | None = None,
        type: Any = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Calls `fn(*args, **kwargs)` once in the life of the task, and returns what the journal recorded of it.

        fn: a coroutine function, or a plain one, which runs in a thread. A parameter named `idempotency_key` gets a
        text that is the same in every attempt.
        effect: what may happen when the worker dies during the step, see `workers.steps`.
        reconcile: for effect="once", called with the idempotency key when it is not known whether the step happened.
        Returns ("done", value), "retry", ("fail", reason), or None: then a person is asked.
        type: what the recorded JSON is read as; else what the function is annotated to return.
        retry: repeats a failing step here and now. A step that fails for good raises its exception; recorded, it
        raises the same again on replay, or `StepFailed` where the class is gone.
        timeout: most seconds for one try, which then fails with `TimeLimit`. (An `asyncio.timeout` around the call is
        no substitute: it may strike after the step was recorded, and replay would not.)

        Raises `InvalidInput` for two steps of one name in flight side by side, `Unstorable` for a value without a JSON
        form, `JournalMismatch` when the program was changed, and `StepUnknown`; the last two pause the task.
        """
        call = StepCall(name, fn, args, kwargs, effect, reconcile, type, retry, timeout)
        return await steps.run_step(self.journal, call)

    async def transaction(self, name: str, fn: Callable[..., Any], /, *args: Any, type: Any = None) -> Any:
        """Calls `fn(connection, *args)` in a write transaction of the store's database, which records the step too:
        both are committed, or neither. Raises `NeedsSql` on engines without SQL: the task fails."""
        return await steps.run_transaction(self.journal, StepCall(name, fn, args, type=type))

    async def gather(
        self, *branches: Awaitable[Any] | Callable[[], Awaitable[Any]], return_exceptions: bool = False
    ) -> list[Any]:
        """Runs coroutines side by side, each as a branch with steps of its own; their results, in order.

        The first exception cancels the other branches and is raised, unless `return_exceptions`.
        """
        return await waiting.gather(self.journal, branches, return_exceptions)

    def patched(self, name: str) -> bool:
        """Whether the code changed under this name runs: False only where a task has already passed with the old code.

        if ctx.patched("ask-twice"):
            ...new steps...
        else:
            ...the old ones, until no old task is left
        """
        return self.journal.patched(name)

    # -- waiting -------------------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Waits; the task holds nothing meanwhile, and a restart does not begin the wait anew."""
        await waiting.sleep(self.journal, seconds)

    async def wait_event(self, name: str, timeout: float | None = None) -> Any:
        """The data of the next event `name` sent to this task. Raises `WaitTimeout` after `timeout` seconds."""
        return await waiting.wait_message(self.journal, f"wait_event:{name}", event_topic(name), timeout)

    async def wait_answer(self, call_id: str, timeout: float | None = None) -> Any:
        """The answer to the deferred call `call_id`. Raises `WaitTimeout` after `timeout` seconds."""
        return await waiting.wait_message(self.journal, f"wait_answer:{call_id}", answer_topic(call_id), timeout)

    async def messages(self) -> list[Any]:
        """The steering messages that have come since the last call, in order; consumed by this call."""
        journal = self.journal
        place, recorded = journal.enter("messages")
        try:
            if recorded is None:
                found = await journal.steering()
                numbers = tuple(message.number for message in found)
                recorded = await journal.settle(place, [message.data for message in found], consumed=numbers)
            return list(await journal.value(recorded, list[Any]))
        finally:
            place.leave()

    # -- other tasks ---------------------------------------------------------------------------------------

    async def spawn(self, task: TaskSpec) -> Child:
        """Submits a child: what `create_task` returned. Its id follows from this call, so there is one however often
        this is repeated. When this task is cancelled, so is the child."""
        return (await children.spawn(self.journal, "spawn", [task]))[0]

    async def spawn_batch(self, tasks: Sequence[TaskSpec]) -> list[Child]:
        """Submits children with one step."""
        return await children.spawn(self.journal, "spawn_batch", tasks)

    async def wait_for(
        self, tasks: Child | str | Iterable[Child | str], need: Need = "all", timeout: float | None = None
    ) -> list[ChildResult]:
        """Those of the tasks that have ended, in the order given, once `need` of them have ("all", "any", a number).

        A child that failed or was cancelled is a result too. Raises `WaitTimeout` after `timeout` seconds.
        """
        return await children.wait_for(self.journal, children.ids_of(tasks), need, timeout)

    async def result_of(self, node: str, type: type[T] | Any = Any) -> Any:
        """In a goal: the result of a node that this one depends on."""
        return await dependencies.dependency_result(self.services.store, self.lease, node, type)

    async def results(self) -> dict[str, Any]:
        """In a goal: the results of all done nodes that this one depends on, by node."""
        return await dependencies.dependency_results(self.services.store, self.lease)

    # -- telling -------------------------------------------------------------------------------------------

    async def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Shows how far the task is: `fraction` from 0 to 1. Not waited for. What a repeat of the function comes by
        again is not told again."""
        if fraction is not None and not 0 <= fraction <= 1:
            raise InvalidInput(f"progress of task {self.task_id!r} must be between 0 and 1, not {fraction!r}")
        await tell(self.journal, "progress", {"fraction": fraction, "message": message})

    async def emit(self, name: str, data: Any = None) -> None:
        """Sends an event of the task's own to whoever follows it; again only where it was the last that a worker did
        before it died."""
        if name == "progress" or not name:
            raise InvalidInput("an event needs a name of its own; for progress there is ctx.progress")
        await tell(self.journal, name, data)
