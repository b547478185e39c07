"""One transaction at work: every change of a task goes through here, so that what hangs on it is never forgotten.

What hangs on a change: its event, the lanes that claims look at, the slots of its limits, and hints to those who wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from tenuto.stores.base import Hint
from tenuto.stores.rules.money import Plan, abandoned
from tenuto.stores.tables import Tables
from tenuto.tasks.clock import Millis
from tenuto.tasks.signal import Message
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import Task
from tenuto.tasks.transitions import Change, closer, wake

__all__ = ["Work"]


class Work:
    """The rows of a store inside one transaction, and what the transaction will have to hint at."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.now: Millis = tables.now
        self.ready: set[str] = set()
        """agents with new claimable tasks"""
        self.told: set[str] = set()
        """tasks that ended, were paused or resumed, or got a message"""
        self.undo: list[Callable[[], None]] = []
        """what the engine calls when it rolls this transaction back: for what was noted outside of the tables"""

    @property
    def hint(self) -> Hint | None:
        """What to tell listeners once this is committed."""
        return Hint(frozenset(self.ready), frozenset(self.told)) if self.ready or self.told else None

    def admit(self, change: Change) -> Task:
        """Stores a new task."""
        task = change.task
        self.tables.insert(task)
        self.tables.add_event(change.event)
        if task.budget is not None:
            self.tables.put_budget(replace(task.budget, scope=f"task:{task.id}"))
        if task.claimable:
            self._claimable(task)
        return task

    def apply(self, before: Task, change: Change) -> Task:
        """Stores what became of a task, with its event."""
        self.tables.update(change.task, change.event)
        return self._follow(before, change.task)

    def store(self, before: Task, task: Task) -> Task:
        """Stores what became of a task where there is nothing to tell: a gate, a lease, a counter."""
        self.tables.update(task)
        return self._follow(before, task)

    def _follow(self, before: Task, task: Task) -> Task:
        if before.open_calls and task.lease_until is None:
            task = replace(task, open_calls=0)
            self.tables.update(task)
            self.booked(abandoned(self.tables, task))
        if task.state is State.READY and task.claimable and not before.claimable:
            self._claimable(task)
        if task.limits:
            self._give_room(before, task)
        if task.state in FINAL or task.paused is not before.paused:
            self.told.add(task.id)
        return task

    def take_slots(self, task: Task) -> None:
        """A claim of `task` uses its limits."""
        for key in task.limits:
            usage = self.tables.usage(key)
            tat, opens = usage.tat, usage.opens
            if usage.limit is not None and usage.limit.rate:
                tat = usage.limit.taken(tat, self.now)
                if self.tables.parked_agents(key):
                    opens = max(usage.limit.allowed_at(tat), 1)
            self.tables.set_usage(replace(usage, used=usage.used + 1, tat=tat, opens=opens))

    def reopen(self, keys: Iterable[str]) -> None:
        """There may be room behind these limits: the next claim looks, and the agents concerned are told."""
        for key in keys:
            usage = self.tables.usage(key)
            if usage.limit is None:
                continue
            agents = self.tables.parked_agents(key)
            if agents:
                self.ready.update(agent for agent, _ in agents)
                self.tables.set_usage(replace(usage, opens=0))

    def tell(self, task: Task, message: Message, key: str | None) -> None:
        """Puts a message into a task's inbox."""
        self.tables.add_message(task.id, message, key)
        self.told.add(task.id)

    def come(self, task_id: str, topic: str) -> None:
        """`topic` has come for a waiting task: it is woken when that was the last one it needed."""
        task = self.tables.task(task_id)
        if not self.tables.met(task_id, topic) or task is None or task.state is not State.WAITING:
            return  # it has ended in this very transaction, and its own turn in `ends.ended` is still to come
        if task.unmet > 1:
            self.store(task, closer(task))
        else:
            self.tables.expect_nothing(task_id)
            self.apply(task, wake(task, self.now, f"came: {topic}"))

    def booked(self, plan: Plan) -> None:
        """What a plan that was written means for others: there is room that they have waited for."""
        self.reopen(plan.freed)
        self.call(plan)

    def call(self, plan: Plan) -> None:
        """Wakes those whose turn it is in a budget."""
        for task_id, topic in plan.called:
            self.come(task_id, topic)

    def _claimable(self, task: Task) -> None:
        self.tables.open_lane(task.agent, task.band, task.owner)
        self.ready.add(task.agent)

    def _give_room(self, before: Task, task: Task) -> None:
        if before.lease_until is not None and task.lease_until is None:
            for key in task.limits:
                usage = self.tables.usage(key)
                self.tables.set_usage(replace(usage, used=max(usage.used - 1, 0)))
            self.reopen(task.limits)
        elif before.claimable and not task.claimable and task.lease_until is None:
            # It may have been put back into room that it does not use now.
            self.reopen(key for key in task.limits if key != task.gate)
