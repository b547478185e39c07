"""The slots of a worker: what it holds, what runs, what was claimed ahead, and what has ended.

    take_in ──► queue ──► running ──► outcomes
                  │          │
                  └──────────┴─► handed back: a draining worker, a lost lease, no free slot in time

A slot is taken by a running attempt, or by a call that was stopped and does not return (a thread cannot be killed).
A task whose worker vanished `_ALONE` times before is a suspect: it runs when nothing else does, and nothing is begun
beside it. It waits `_COURTESY` for what runs already; tasks that take longer must bear it, or slots would stay empty
for as long as they run.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from tenuto.observability.logging import logger
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Outcome
from tenuto.workers.execution import Execution, Stop
from tenuto.workers.handler import Handler
from tenuto.workers.services import Services

__all__ = ["Slots"]

log = logger("tenuto.worker")

_ALONE = 2
"""Lost leases from which on a task runs alone."""
_COURTESY = 5.0
"""Seconds for which a suspect waits for other tasks to end."""
_PATIENCE = 0.25
"""Seconds that a task claimed ahead waits for a slot before it is handed back."""


class Slots:
    """Runs tasks in at most `size` slots. Belongs to one event loop."""

    def __init__(
        self,
        size: int,
        handlers: Mapping[str, Handler],
        services: Services,
        *,
        watch: Callable[[float], None],
        ended: Callable[[], None],
    ) -> None:
        """`watch` sets an alarm for an instant of the monotonic clock; `ended` is called after outcomes were added."""
        self.held: dict[str, Execution] = {}
        """every task that is held, by id"""
        self.replaced: set[Execution] = set()
        """attempts that were stopped and have not returned, at tasks that this worker holds anew"""
        self.busy = 0
        """attempts that run"""
        self.outcomes: list[Outcome] = []
        """what has ended since somebody took the list"""
        self.spent = 0.0
        """seconds that ended attempts took, all together, since somebody took the sum"""
        self.closed = False
        """whatever is taken in is handed back"""
        self.fatal: BaseException | None = None
        """what a task raised that must end the worker too"""
        self._size = size
        self._handlers = handlers
        self._services = services
        self._watch = watch
        self._ended = ended
        self._queue: deque[Execution] = deque()
        self._suspects: deque[Execution] = deque()
        self._alone: Execution | None = None
        """the suspect that runs"""
        self._lost: set[Execution] = set()
        self._trimming = False

    @property
    def gone(self) -> int:
        """Slots taken by calls that were stopped and do not return."""
        return self._services.threads.abandoned + len(self._lost)

    @property
    def free(self) -> int:
        """How many tasks could begin at once if they were here; not above 0 while nothing may be claimed."""
        if self.closed or self._suspects or self._alone:
            return 0
        return self._size - self.gone - self.busy - len(self._queue)

    @property
    def open(self) -> bool:
        """Whether anything may be claimed at all."""
        return not (self.closed or self._suspects or self._alone)

    def take_in(self, leases: Sequence[Lease], sent: float) -> None:
        """Begins claimed tasks, or queues them. `sent`: when their claim was sent, by the monotonic clock."""
        for lease in leases:
            execution = Execution(lease, self._handlers[lease.agent], self._services, sent)
            if (old := self.held.get(lease.task_id)) is not None:
                self.stop(old, Stop.LEASE_LOST)
                if old.task is not None:
                    self.replaced.add(old)
            self.held[lease.task_id] = execution
            if self.closed:
                self._hand_back(execution)
                continue
            if lease.losses >= _ALONE:
                self._suspects.append(execution)
                asyncio.get_running_loop().call_later(_COURTESY, self.fill)
            else:
                self._queue.append(execution)
            if execution.limit_at != math.inf:
                self._watch(execution.limit_at)
        self.fill()
        if self._queue and not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(_PATIENCE, self._trim)

    def fill(self) -> None:
        """Refills free slots from the queue."""
        if self._alone:
            return
        queue = self._queue
        if queue:
            size = self._size - self.gone
            while queue and self.busy < size:
                self._begin(queue.popleft())
        if not self._suspects or queue:
            return
        if not self.busy or self._suspects[0].claimed <= time.monotonic() - _COURTESY:
            self._alone = self._suspects.popleft()
            self._begin(self._alone)

    def _begin(self, execution: Execution) -> None:
        self.busy += 1
        execution.begin()
        if execution.limit_at != math.inf:
            self._watch(execution.limit_at)
        execution.task = asyncio.get_running_loop().create_task(self._run(execution))

    async def _run(self, execution: Execution) -> None:
        began = time.monotonic()
        outcome = await execution.run()
        execution.task = None
        self.replaced.discard(execution)
        self.spent += time.monotonic() - began
        if self._lost and execution in self._lost:
            self._lost.discard(execution)  # what it held was given back when it was abandoned
            return
        self.busy -= 1
        if execution is self._alone:
            self._alone = None
        if self.held.get(execution.lease.task_id) is execution:
            del self.held[execution.lease.task_id]
        self.outcomes.append(outcome)
        if execution.fatal is not None:
            self.fatal = execution.fatal
        if self._queue or self._suspects:
            self.fill()
        self._ended()

    def stop(self, execution: Execution, cause: Stop) -> None:
        """Interrupts an attempt, or hands back a task that waits for a slot."""
        if execution.task is not None:
            self._watch(execution.stop(cause))
            return
        for waiting in (self._queue, self._suspects):
            if execution in waiting:
                waiting.remove(execution)
        self._hand_back(execution)

    def abandon(self, execution: Execution) -> None:
        """An attempt does not react to being stopped: its slot is lost until it ends."""
        log.error("a task was cancelled and does not end", task=execution.lease.task_id, agent=execution.lease.agent)
        self._lost.add(execution)
        self.replaced.discard(execution)
        self.busy -= 1
        if execution is self._alone:
            self._alone = None
        self._hand_back(execution)

    def close(self) -> None:
        """Nothing begins any more: hands back what waits for a slot."""
        self.closed = True
        waiting = [*self._queue, *self._suspects]
        self._queue.clear()
        self._suspects.clear()
        for execution in waiting:
            self._hand_back(execution)

    def interrupt(self) -> Sequence[asyncio.Task[None]]:
        """Interrupts every attempt, for its task to be handed back; the asyncio tasks that are about to end."""
        for execution in list(self.held.values()):
            self.stop(execution, Stop.DRAINING)
        return [execution.task for execution in self.held.values() if execution.task is not None]

    def _hand_back(self, execution: Execution) -> None:
        if self.held.get(execution.lease.task_id) is execution:
            del self.held[execution.lease.task_id]
        self.outcomes.append(execution.release())
        self._ended()

    def _trim(self) -> None:
        """Hands back what was claimed ahead and does not get its turn."""
        self._trimming = False
        oldest = time.monotonic() - _PATIENCE
        while self._queue and self._queue[0].claimed < oldest:
            self._hand_back(self._queue.popleft())
        if self._queue:
            self._trimming = True
            asyncio.get_running_loop().call_later(_PATIENCE, self._trim)
